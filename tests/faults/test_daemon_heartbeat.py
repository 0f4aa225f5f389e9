"""The dead man's switch with a real daemon and a real address: it is pinged while an alert would get through."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tocsin.testing.slack import FakeSlack, Kind
from tocsin.testing.waiting import eventually

from .conftest import DaemonProcess

GROUP = "groups: [{name: app, interval: 1s, rules: [{alert: Never, expr: 'tocsin_series < 0'}]}]"


@dataclass
class Outside:
    """Whoever is pinged, and a Prometheus that answers queries until it hangs."""

    url: str = ""
    pings: int = 0
    hangs: bool = False


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    found = Outside()
    ended = asyncio.Event()

    async def ping(_: web.Request) -> web.Response:
        found.pings += 1
        return web.Response(text="OK")

    async def query(_: web.Request) -> web.Response:
        if found.hangs:
            await ended.wait()
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": []}})

    app = web.Application()
    app.router.add_get("/ping/4f6c", ping)
    app.router.add_route("*", "/api/v1/{what}", query)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    ended.set()
    await runner.cleanup()


def configured(daemon: DaemonProcess, slack: FakeSlack, outside: Outside, **more: Any) -> None:
    """A daemon that has nothing to watch but itself."""
    (daemon.folder / "rules.yaml").write_text(GROUP)
    (daemon.folder / "config.yaml").write_text(json.dumps({
        "rules": ["rules.yaml"],
        "notifiers": [
            {
                "kind": "slack", "name": "pages", "channel": "C0ALERTS", "token_env": "SLACK_TOKEN",
                "base_url": slack.base_url, "deadline": "3s",
            }
        ],
        "heartbeat": {"url_env": "HEARTBEAT", "every": "1s", "within": "900ms"},
        "web": {"listen": "127.0.0.1:0"},
        "telemetry": {"log_format": "json"},
        **more,
    }))  # fmt: skip
    daemon.env["HEARTBEAT"] = f"{outside.url}/ping/4f6c"


async def pinged_again(outside: Outside, times: int = 2) -> None:
    before = outside.pings
    await eventually(lambda: outside.pings >= before + times)


async def test_it_beats_while_messages_get_through_and_posts_nothing(
    daemon: DaemonProcess, slack: FakeSlack, outside: Outside
) -> None:
    """Pings come and nobody sees a message; while Slack takes none, they stay out and the log says why."""
    configured(daemon, slack, outside)
    await daemon.start()
    await pinged_again(outside)
    slack.inject("auth.test", Kind.STATUS, times=1000)
    # The walk that is under way may have passed already; those that begin from here on don't.
    before = len(daemon.log("heartbeat.withheld"))
    await eventually(lambda: len(daemon.log("heartbeat.withheld")) >= before + 2)
    held = outside.pings
    await eventually(lambda: len(daemon.log("heartbeat.withheld")) >= before + 3)
    assert outside.pings == held
    assert "(pages: auth.test was answered with HTTP 500" in str(daemon.log("heartbeat.withheld"))
    slack.faults.clear()
    await pinged_again(outside)
    assert (len(slack.posted()), daemon.log("heartbeat.resumed") != []) == (0, True)
    assert await daemon.stop() == 0


async def test_it_stays_out_while_rules_are_not_evaluated(
    daemon: DaemonProcess, slack: FakeSlack, outside: Outside
) -> None:
    """The server that evaluates the rules hangs: the canary's own walk is fine, and nobody is told that all is well."""
    configured(
        daemon, slack, outside, series={"engine": {"prometheus": outside.url, "deadline": "500ms", "settle": "0s"}}
    )
    (daemon.folder / "rules.yaml").write_text(GROUP.replace("tocsin_series", "http_requests_total"))
    await daemon.start()
    await pinged_again(outside)
    outside.hangs = True
    await eventually(lambda: "no rule can be evaluated" in str(daemon.log("heartbeat.withheld")[-1:]))
    held = outside.pings
    await eventually(lambda: str(daemon.log("heartbeat.withheld")).count("no rule can be evaluated") >= 2)
    assert outside.pings == held
    outside.hangs = False
    await pinged_again(outside)


async def test_it_stays_out_while_the_process_is_stopped_or_its_loop_blocked(
    daemon: DaemonProcess, slack: FakeSlack, outside: Outside, tmp_path: Path
) -> None:
    """No ping comes out of a process that does not run, or whose loop stands still; its thread says where it stood."""
    configured(daemon, slack, outside)
    # The interpreter runs a signal's handler on the main thread: that is the loop's.
    (tmp_path / "sitecustomize.py").write_text(
        "import signal, time\n"
        "def the_blocking_call(*_):\n    time.sleep(7)\n"
        "signal.signal(signal.SIGUSR1, the_blocking_call)\n"
    )
    daemon.env["PYTHONPATH"] = str(tmp_path)
    await daemon.start()
    await pinged_again(outside)
    daemon.signal(signal.SIGSTOP)
    held = outside.pings
    await asyncio.sleep(6.5)
    stopped = outside.pings - held
    daemon.signal(signal.SIGCONT)
    await pinged_again(outside)
    daemon.signal(signal.SIGUSR1)
    await eventually(lambda: bool(daemon.log("loop.stalled")))
    held = outside.pings
    await pinged_again(outside)
    assert stopped <= 1  # one may have been on its way when the process was stopped
    assert "the_blocking_call" in daemon.log("loop.stalled")[0]["stack"]
    await eventually(lambda: bool(daemon.log("loop.goes_on")))
    assert daemon.log("process.was_stopped")[0]["seconds"] > 6
