"""The campaigns application as a process: what it can't start with, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.asgi.collector import collecting
from tests.asgi.collector import until as until_true
from tests.e2e.conftest import caller


async def test_sigterm_ends_it_in_order(serve: Callable[..., Any]) -> None:
    """The server drains and is gone, the exit is by the signal it was sent. What it did was traced: a request with its
    statements, and the worker's batches."""
    with collecting() as collector:
        service = serve(
            "--prepare", "--pace", "400", TOCSIN_APP_OTLP_ENDPOINT=collector.endpoint, TOCSIN_APP_TRACE_SHARE="1"
        )
        async with aiohttp.ClientSession() as http:
            assert (await caller(http, service.address)("GET", "/campaigns"))[0] == 200
        for name in ("campaigns.batch", "GET /campaigns"):
            await asyncio.to_thread(until_true, lambda name=name: collector.named(name))
        assert await asyncio.to_thread(service.stop) in (0, -signal.SIGTERM)
        [request] = collector.named("GET /campaigns")
        below = {one["name"] for one in collector.spans if one["parent"] == request["span_id"]}
        assert below == {"wait for a connection", "SELECT campaigns"}
        assert request["resource"]["service.name"] == "campaigns"
        batches = {one["span_id"] for one in collector.named("campaigns.batch")}
        assert batches & {one["parent"] for one in collector.named("UPDATE campaigns")}


@pytest.mark.parametrize(
    ("arguments", "env", "says"),
    [
        ((), {"DATABASE_URL": ""}, "set DATABASE_URL to the database's URL"),
        (("--dsn-env", "NOT_SET"), {}, "set NOT_SET"),
        (("--host", "0.0.0.0"), {"CAMPAIGNS_FAULTS": "a secret of the tests"}, "is not loopback"),
        ((), {"CAMPAIGNS_FAULTS": "short"}, "at least 16 characters"),
        (("--port", "99999"), {}, "choose another with --port"),
        ((), {"TOCSIN_APP_SUPABASE_URL": ""}, "nothing says who may come in"),
        ((), {"TOCSIN_APP_SUPABASE_URL": "https://ref.supabase.co"}, "there is no allowlist"),
        (("--prepare",), {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x"}, "can't prepare the database"),
    ],
)
def test_what_it_can_not_start_with_is_said_in_one_line(
    root: Path, arguments: tuple[str, ...], env: dict[str, str], says: str
) -> None:
    """Exit 2 and one line that says what to do; no traceback."""
    run = subprocess.run(
        [sys.executable, "-m", "examples.campaigns", "--port", "0", *arguments],
        capture_output=True,
        text=True,
        cwd=root,
        env={
            **os.environ,
            "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/x",
            "TOCSIN_APP_SUPABASE_URL": "off",
            **env,
        },
        timeout=30,
    )
    assert (run.returncode, run.stdout, "Traceback" in run.stderr) == (2, "", False)
    assert says in run.stderr
