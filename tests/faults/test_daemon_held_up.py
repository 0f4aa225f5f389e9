"""SIGTERM ends the daemon, whatever hangs: with all that it has to keep, in time, and it says what held it up."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tocsin.testing.slack import FakeSlack, Kind
from tocsin.testing.waiting import PATIENCE, eventually

from .conftest import DaemonProcess, Target, config_of

PLUGIN = """
import asyncio, threading

from tocsin.ports import CollectorSettings, CollectorSpec, Health, NotifierSettings, NotifierSpec

async def hangs():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

class Collector:
    def __init__(self, settings, context):
        self.polls = 0
    async def collect(self, at):
        self.polls += 1
        if self.polls == 1:
            threading.Thread(target=threading.Event().wait, name="in-a-mount").start()
            await asyncio.to_thread(threading.Event().wait)
        return
        yield
    async def close(self):
        await hangs()

class Notifier:
    def __init__(self, settings, context): ...
    async def check(self):
        return Health(ok=True, what="")
    async def close(self):
        await hangs()

COLLECTOR = CollectorSpec(kind="hung", settings=CollectorSettings, build=Collector, metrics=())
NOTIFIER = NotifierSpec(kind="hung", settings=NotifierSettings, build=Notifier)
"""


def install(folder: Path) -> None:
    """As pip would."""
    (folder / "hung.py").write_text(PLUGIN)
    info = folder / "hung-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hung\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[tocsin.collectors]\nhung = hung:COLLECTOR\n[tocsin.notifiers]\nhung = hung:NOTIFIER\n"
    )


async def test_a_daemon_in_which_nearly_everything_hangs(
    daemon: DaemonProcess, slack: FakeSlack, target: Target
) -> None:
    """A collector's poll and close(), a notifier's close(), a thread of a pool and one of nobody's: what is due is sent
    all the same, samples and state are closed, and the log names what was left. So does a reload."""
    install(daemon.folder)
    config = config_of(slack, target)
    config["collectors"].append({"kind": "hung", "name": "hung", "interval": "200ms"})
    config["notifiers"] += [{"kind": "hung", "name": "mute"}, {"kind": "hung", "name": "gone"}]
    (daemon.folder / "config.yaml").write_text(json.dumps(config))
    daemon.env["PYTHONPATH"] = str(daemon.folder)
    await daemon.start()
    del config["notifiers"][-1]
    (daemon.folder / "config.yaml").write_text(json.dumps(config))
    daemon.signal(signal.SIGHUP)
    await eventually(lambda: bool(daemon.log("config.reloaded")))
    assert [line["notifier"] for line in daemon.log("notifier.close_failed")] == ["gone"]
    slack.inject("chat.postMessage", Kind.HANG)
    target.status = 500
    await eventually(lambda: any(call.method == "chat.postMessage" for call in slack.calls))
    daemon.signal(signal.SIGTERM)
    await eventually(lambda: bool(daemon.log("daemon.draining")))
    assert slack.posted() == ()
    slack.release()
    assert await daemon.ended() == 3
    assert (len(slack.posted()), len(daemon.log("daemon.ended"))) == (1, 1)
    assert [line["collector"] for line in daemon.log("collector.close_failed")] == ["hung"]
    assert [line["part"] for line in daemon.log("daemon.left_behind")] == ["notifier mute"]
    (told,) = daemon.log("daemon.held_up")
    assert any("hung.py" in task and " close" in task for task in told["tasks"])
    assert any(thread.startswith("in-a-mount: ") for thread in told["threads"])


PROGRAM = """
import asyncio, signal, sys, threading, time

from tocsin.runtime.leaving import Leaving
from tocsin.telemetry import logs

async def main():
    logs.set_up(format="json")
    stop = asyncio.Event()
    leaving = Leaving(limit=float(sys.argv[2]), afterwards=0.1)
    leaving.listen(stop.set)
    print("listens", flush=True)
    match sys.argv[1]:
        case "blocked":
            time.sleep(3600)
        case "told":
            await stop.wait()
            print("told", flush=True)
            await asyncio.sleep(3600)
        case "log":
            sys.stderr = None
            logs.set_up(format="json", stream=Deaf())
            await asyncio.sleep(3600)

class Deaf:
    def isatty(self): return False
    def write(self, text): time.sleep(3600)
    def flush(self): pass

asyncio.run(main())
"""


async def ended(how: str, *, limit: float = 3600, again: bool = False) -> tuple[int, list[dict[str, object]]]:
    """A process with that in its way is told to end, and told again → its exit code, and its log."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, how, str(limit), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(PATIENCE):
            assert await process.stdout.readline() == b"listens\n"
            process.send_signal(signal.SIGTERM)
            while again and process.returncode is None:
                await asyncio.sleep(0.1)
                if process.returncode is None:
                    os.kill(process.pid, signal.SIGINT)
            _, log = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode is not None
    return process.returncode, [json.loads(line) for line in log.splitlines()]


async def test_a_loop_that_stands_still_is_ended_and_told_of() -> None:
    """The thread that counts needs no loop."""
    code, (told,) = await ended("blocked", limit=0.1)
    assert (code, told["event"], told["why"]) == (3, "daemon.held_up", "it has not ended in time")
    assert "<string>:15 main" in str(told["threads"])


async def test_a_second_signal_ends_it_at_once() -> None:
    """And one that comes with the first does not: Ctrl-C often comes twice."""
    code, (told,) = await ended("told", again=True)
    assert (code, told["why"]) == (3, "told a second time: SIGINT")
    assert "<string>:19 main > asyncio/tasks.py" in str(told["tasks"])


async def test_a_log_that_nobody_reads_holds_nothing_up() -> None:
    """The last line is not waited for."""
    assert await ended("log", limit=0.1) == (3, [])
