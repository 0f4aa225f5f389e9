"""`tocsin demo`: real processes, five faults, one message each."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import aiohttp
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


@pytest.fixture(scope="module")
def outcomes(root: Path) -> dict[str, dict[str, object]]:
    """One run of the whole demo."""
    run = subprocess.run(
        [sys.executable, "-m", "tocsin", "demo", "--once", "--scenario", "all", "--json"],
        capture_output=True,
        text=True,
        cwd=root,
        timeout=240,
    )
    assert run.returncode == 0, run.stderr + run.stdout
    documents = [json.loads(line) for line in run.stdout.splitlines()]
    return {document["fault"]: document for document in documents}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_detected_told_once_and_its_end_is_told(outcomes: dict[str, dict[str, object]], fault: str) -> None:
    """Exactly one message in the channel, whatever else the fault breaks, and every step in order."""
    outcome = outcomes[fault]
    assert (outcome["ok"], outcome["messages"]) == (True, 1)
    steps = [outcome[name] for name in ("injected_at", "detected_at", "notified_at", "resolved_at")]
    assert None not in steps
    assert steps == sorted(steps, key=str)


def test_every_fault_has_its_outcome(outcomes: dict[str, dict[str, object]]) -> None:
    """One JSON object each, in the order performed."""
    assert list(outcomes) == list(FAULTS)
