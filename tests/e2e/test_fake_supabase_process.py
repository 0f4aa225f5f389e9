"""The stand-in Supabase Auth as a process of its own, as the demo runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

MODULE = [sys.executable, "-m", "tocsin.testing.supabase"]


@pytest.fixture
def auth(tmp_path: Path, root: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    process = subprocess.Popen(
        [*MODULE, "--parent", "--log", str(tmp_path / "auth.jsonl"), "--user", "ana@example.com=secret-word"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait(10)
        process.stdin.close()
        process.stdout.close()


def sign_in(hello: dict[str, Any], password: str) -> int:
    request = urllib.request.Request(
        hello["url"] + "/token?grant_type=password",
        data=json.dumps({"email": "ana@example.com", "password": password}).encode(),
        headers={"apikey": hello["api_key"], "content-type": "application/json", "x-forwarded-for": "203.0.113.7"},
    )
    try:
        with urllib.request.urlopen(request) as response:
            return int(response.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


def test_it_announces_its_address_and_serves_its_users(auth: tuple[Any, dict[str, Any]]) -> None:
    """The seeded user gets in, a guess does not, and each leaves its lines in the file."""
    _, hello = auth
    assert (sign_in(hello, "secret-word"), sign_in(hello, "a guess")) == (200, 400)
    lines = [json.loads(line) for line in Path(hello["log"]).read_text().splitlines()]
    assert [line.get("status") for line in lines] == [None, None, 200, 400]


def test_it_ends_with_the_process_that_started_it(auth: tuple[subprocess.Popen[str], Any]) -> None:
    """The end of its input is the end of it."""
    process, _ = auth
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(10) == 0


def test_it_ends_by_sigterm(auth: tuple[subprocess.Popen[str], Any]) -> None:
    """In order, with 0."""
    process, _ = auth
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--user", "ana"], "write it like ana@example.com=secret-word"),
        (["--log", "/no/such/folder/auth.jsonl"], "/no/such/folder"),
    ],
)
def test_what_it_can_not_use_is_said(root: Path, arguments: list[str], says: str) -> None:
    """Exit 2, no traceback."""
    run = subprocess.run([*MODULE, *arguments], capture_output=True, text=True, cwd=root, timeout=30)
    assert (run.returncode, "Traceback" in run.stderr) == (2, False)
    assert says in run.stderr
