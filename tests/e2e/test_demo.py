"""`tocsin demo`: real processes, five faults, one message each."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import psutil
import pytest

from tocsin.testing.demo import FAULTS, DemoError, set_stage


async def test_the_stage_stands_and_falls_as_one(tmp_path: Path) -> None:
    """Application, sign-ins and database answer; at the end nothing of it is left."""
    async with set_stage(tmp_path, daemon=False, traffic=False) as stage:
        async with stage.http.get(stage.app + "/healthz") as response:
            assert response.status == 200
        assert await stage.auth.sign_in("ana@example.com", "a guess", address="203.0.113.9") == 400
        assert '"remote_addr":"203.0.113.9"' in stage.auth_log.read_text()
        with pytest.raises(DemoError, match="refused the fault /nothing: 404"):
            await stage.faults("PUT", "/nothing", {})
        app, postgres = stage.app, stage.postgres
    assert not any(child.running for child in stage.children)
    assert not postgres.running
    async with aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.ClientConnectionError):
            await http.get(app)


async def test_a_part_that_ends_is_an_error_and_not_a_missed_alert(tmp_path: Path) -> None:
    """Waiting for a message ends at once, with the name of what is gone."""
    async with set_stage(tmp_path, daemon=False, traffic=False) as stage:
        waiting = asyncio.ensure_future(stage.until(lambda: False, 60))
        app = stage.children[0]
        os.kill(app.pid, 9)
        with pytest.raises(DemoError, match="app ended on its own"):
            await waiting


def demo(root: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tocsin", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=root,
        start_new_session=True,
    )


def test_each_fault_is_detected_told_once_and_its_end_is_told(root: Path) -> None:
    """All five in one run: one message each whatever else the fault breaks, every step in its order, and exit 0."""
    process = demo(root, "--once", "--scenario", "all", "--json")
    stdout, stderr = process.communicate(timeout=240)
    outcomes = [json.loads(line) for line in stdout.splitlines()]
    assert [outcome["fault"] for outcome in outcomes] == list(FAULTS), stderr
    for outcome in outcomes:
        steps = [outcome[name] for name in ("injected_at", "detected_at", "notified_at", "resolved_at")]
        assert (outcome["ok"], outcome["messages"], None in steps) == (True, 1, False), stderr
        assert steps == sorted(steps)
    assert process.returncode == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)])
def test_however_the_demo_ends_nothing_of_it_stays(
    root: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """Ctrl-C or kill -9 while it runs: every process that it started is gone."""
    process = demo(root, "--scenario", "none", "--folder", str(tmp_path))
    assert process.stdout is not None
    shown = list(itertools.takewhile(lambda line: "All is well" not in line, process.stdout))
    started = psutil.Process(process.pid).children(recursive=True)
    assert "Slack channel" in shown[1]
    assert len(started) >= 4, "the application, sign-ins, the daemon and Postgres"
    if number is signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does: to all of the foreground
    else:
        process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in stderr) == (code, False), stderr
    _, left = psutil.wait_procs(started, timeout=10)
    assert left == []
