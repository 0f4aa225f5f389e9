"""Real processes for the end-to-end tests: a Postgres for the module, the campaigns application on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tocsin.testing.postgres import EmbeddedPostgres

FAULTS_SECRET = "a secret of the tests"
METRICS_TOKEN = "a token of the tests"
Call = Callable[..., Awaitable[tuple[int, Any]]]


@dataclass
class Service:
    """A running process of the application."""

    address: str
    process: subprocess.Popen[str]

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(15)


def caller(http: aiohttp.ClientSession, address: str) -> Call:
    async def call(method: str, path: str, body: object = None, **more: Any) -> tuple[int, Any]:
        async with http.request(method, address + path, json=body, **more) as response:
            found = await response.json() if "json" in response.content_type else await response.text()
            return response.status, found

    return call


@pytest.fixture(scope="module")
def postgres() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres.start() as running:
        running.create_role("campaigns")
        running.execute("create database campaigns owner campaigns")
        yield running


@pytest.fixture(scope="module")
def serve(postgres: EmbeddedPostgres, root: Path) -> Iterator[Callable[..., Service]]:
    """Starts `python -m examples.campaigns` with more arguments; the address is the one it announces."""
    services: list[Service] = []

    def start(*arguments: str, **env: str) -> Service:
        process = subprocess.Popen(
            [sys.executable, "-m", "examples.campaigns", "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env={
                **os.environ,
                "DATABASE_URL": postgres.dsn("campaigns", "campaigns"),
                "TOCSIN_APP_SUPABASE_URL": "off",
                "TOCSIN_APP_METRICS_TOKEN": METRICS_TOKEN,
                **env,
            },
        )
        assert process.stdout is not None
        services.append(Service(json.loads(process.stdout.readline())["address"], process))
        return services[-1]

    yield start
    for service in services:
        if service.process.poll() is None:
            service.process.kill()
        service.process.wait(15)
        assert service.process.stdout is not None
        service.process.stdout.close()


@pytest.fixture(scope="module")
def campaigns(serve: Callable[..., Service]) -> Service:
    """The application with its worker and fault wrapper, on an empty schema with seeds."""
    return serve("--prepare", "--seed", "--pace", "400", CAMPAIGNS_FAULTS=FAULTS_SECRET)
