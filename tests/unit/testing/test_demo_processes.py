"""The demo's children announce themselves, say why they ended, and never outlive the demo."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tocsin.testing.demo.processes import Child, DemoError

HELLO = "import json; print(json.dumps({'event': 'up', 'address': 'x'}), flush=True)"
WAIT = "import time; time.sleep(600)"


async def start(folder: Path, script: str, **env: str) -> Child:
    return await Child.start("child", [sys.executable, "-c", script], folder=folder, env=env)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def test_it_is_ready_when_it_says_so(tmp_path: Path) -> None:
    """The line that is waited for may come after others, JSON or not."""
    child = await start(tmp_path, f"print('hello'); print('[1]'); print('{{\"event\": \"first\"}}'); {HELLO}; {WAIT}")
    try:
        assert await child.said(10, event="up") == {"event": "up", "address": "x"}
    finally:
        await child.stop()


async def test_one_that_ends_early_shows_its_last_words(tmp_path: Path) -> None:
    """The error has the exit code and the end of its log, and names the log."""
    child = await start(tmp_path, "import sys; sys.exit('the port is taken')")
    with pytest.raises(DemoError) as raised:
        await child.said(10, event="up")
    await child.stop()
    assert "ended with code 1" in str(raised.value)
    assert "the port is taken" in str(raised.value)
    assert str(tmp_path / "child.log") in str(raised.value)


async def test_what_an_earlier_run_logged_is_not_this_ones(tmp_path: Path) -> None:
    """Its folder may have been used before: neither is what is waited for there already, nor are the last words."""
    (tmp_path / "child.log").write_text("config.reloaded by the one before\n")
    child = await start(tmp_path, "import sys; sys.exit('the port is taken')")
    with pytest.raises(DemoError, match="the port is taken") as raised:
        await child.logged("config.reloaded", 60)
    await child.stop()
    assert "the one before" not in str(raised.value)
    assert (tmp_path / "child.log").read_text().splitlines()[0] == "config.reloaded by the one before"


async def test_one_that_says_nothing_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    """The error says how long it was waited for."""
    child = await start(tmp_path, WAIT)
    try:
        with pytest.raises(DemoError, match=r"not ready within 0\.05 s"):
            await child.said(0.05, event="up")
    finally:
        await child.stop()


async def test_a_command_that_is_not_there_is_said(tmp_path: Path) -> None:
    """It ends at once, and the log names it."""
    child = await Child.start("child", ["/no/such/program"], folder=tmp_path)
    with pytest.raises(DemoError, match="/no/such/program"):
        await child.said(10)
    await child.stop()


async def test_one_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """Stopping ends, whatever the child does."""
    child = await start(tmp_path, f"import signal; signal.signal(15, signal.SIG_IGN); {HELLO}; {WAIT}")
    await child.said(10, event="up")
    await child.stop(grace=0.1)
    assert (child.running, await child.ended()) == (False, -signal.SIGKILL)


async def test_stopping_twice_is_harmless(tmp_path: Path) -> None:
    """The demo may stop what has ended on its own."""
    child = await start(tmp_path, HELLO)
    await child.ended()
    await child.stop()
    await child.stop()
    assert not child.running


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_kill_9_of_the_demo_takes_its_children_along(tmp_path: Path) -> None:
    """No stray server stays behind, whatever happens to the process that started it."""
    script = (
        "import asyncio, sys, pathlib\n"
        "from tocsin.testing.demo.processes import Child\n"
        "async def main():\n"
        f"    child = await Child.start('child', [sys.executable, '-c', {f'{HELLO}; {WAIT}'!r}],"
        " folder=pathlib.Path(sys.argv[1]))\n"
        "    await child.said(20, event='up')\n"
        "    print(child.pid, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    demo = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert demo.stdout is not None
        pid = int(await asyncio.to_thread(demo.stdout.readline))
        assert not is_gone(pid)
    finally:
        demo.kill()
        demo.wait()
        demo.stdout.close()
    deadline = time.monotonic() + 10
    while not is_gone(pid) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    assert is_gone(pid)


async def test_a_child_gets_the_environment_it_is_given(tmp_path: Path) -> None:
    """On top of ours."""
    script = "import json, os; print(json.dumps({name: os.environ.get(name) for name in ('ONE', 'PATH')}))"
    child = await start(tmp_path, script, ONE="1")
    try:
        assert await child.said(10) == {"ONE": "1", "PATH": os.environ["PATH"]}
    finally:
        await child.stop()
