"""The daemon's APIs with their clients: Debian's amtool, and a real Prometheus that sends its alerts here."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from tests.faults.conftest import DaemonProcess
from tocsin.access.tokens import Scope, mint
from tocsin.state import State
from tocsin.testing.slack import FakeSlack
from tocsin.testing.waiting import PATIENCE, eventually

pytestmark = pytest.mark.peer
Peer = Callable[[str], Path]


@dataclass
class Site:
    """A daemon with nothing to watch, a Slack channel, and a token for its API."""

    daemon: DaemonProcess
    slack: FakeSlack
    token: str
    folder: Path

    @property
    def address(self) -> str:
        return self.daemon.address

    async def get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        async with ClientSession() as session, session.get(f"http://{self.address}{path}", headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with FakeSlack() as slack:
        config = {
            "collectors": [], "rules": [],
            "routes": [{"match": {}, "notify": ["pages"], "group_by": ["alertname"]}],
            "notifiers": [
                {
                    "kind": "slack", "name": "pages", "channel": "C0ALERTS", "token_env": "SLACK_TOKEN",
                    "base_url": slack.base_url, "deadline": "3s",
                }
            ],
            "web": {"listen": "127.0.0.1:0"}, "telemetry": {"log_format": "json"},
        }  # fmt: skip
        (tmp_path / "config.yaml").write_text(json.dumps(config))
        state = await State.open(f"sqlite:///{tmp_path / 'tocsin.db'}")
        clear, row = mint([Scope.ALERTS_READ, Scope.ALERTS_WRITE], datetime.now(UTC))
        await state.tokens.put(row)
        await state.close()
        daemon = DaemonProcess(tmp_path, {"SLACK_TOKEN": slack.token})
        await daemon.start()
        yield Site(daemon, slack, clear, tmp_path)
        if daemon.process is not None and daemon.process.returncode is None:
            await daemon.kill()


class Amtool:
    """amtool against a site."""

    def __init__(self, program: Path, site: Site) -> None:
        self._program = program
        self._site = site
        self._config = site.folder / "amtool-http.yaml"
        self._config.write_text(json.dumps({"authorization": {"credentials": site.token}}))

    async def __call__(self, *arguments: str) -> str:
        """What it prints; it must succeed."""
        command = [
            str(self._program), f"--alertmanager.url=http://{self._site.address}",
            f"--http.config.file={self._config}", *arguments,
        ]  # fmt: skip
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        assert "different" not in done.stderr, "amtool objects to our version"
        return str(done.stdout)


@pytest.fixture
def amtool(real_peer: Peer, site: Site) -> Amtool:
    return Amtool(real_peer("amtool"), site)


async def test_amtool_adds_and_queries_alerts(amtool: Amtool, site: Site) -> None:
    """An alert that amtool adds is an incident, and one message; amtool sees it."""
    await amtool("alert", "add", "Down", "service=api", "severity=P0", "--annotation=summary=it is down")
    found = json.loads(await amtool("--output=json", "alert", "query", "alertname=Down"))
    assert [(each["labels"]["service"], each["status"]["state"]) for each in found] == [("api", "active")]
    assert json.loads(await amtool("--output=json", "alert", "query", "alertname=Up")) == []
    assert "it is down" in await amtool("--output=extended", "alert", "query")
    await eventually(lambda: len(site.slack.posted()) == 1)


async def test_amtool_works_with_silences(amtool: Amtool, site: Site) -> None:
    """Add, query, update, expire; a silence hides alerts until it ends."""
    await amtool("alert", "add", "Down", "service=api", "severity=P0")
    id = (await amtool("silence", "add", "service=~ap.", "alertname=Down", "--author=ana", "--comment=deploy")).strip()
    (shown,) = json.loads(await amtool("--output=json", "silence", "query", "service=~ap."))
    assert (shown["id"], shown["comment"], shown["createdBy"]) == (id, "deploy", "ana")
    assert json.loads(await amtool("--output=json", "alert", "query")) == []
    (hidden,) = json.loads(await amtool("--output=json", "alert", "query", "--silenced"))
    assert hidden["status"]["silencedBy"] == [id]
    await amtool("silence", "update", "--duration=3h", "--comment=longer", id)
    assert id in await amtool("silence", "query")
    saved = site.folder / "silences.json"
    saved.write_text(await amtool("--output=json", "silence", "query", "service=~ap."))
    await amtool("silence", "expire", id)
    await amtool("silence", "import", "--force", str(saved))
    (again,) = (await amtool("silence", "query", "-q", "service=~ap.")).split()
    await amtool("silence", "expire", again)
    assert len(json.loads(await amtool("--output=json", "alert", "query"))) == 1
    assert [each["status"]["state"] for each in json.loads(await amtool("-o", "json", "silence", "query", "--expired"))]


async def test_amtool_reads_the_configuration(amtool: Amtool) -> None:
    """Receivers are our notifiers, in a file that it can parse."""
    assert "pages" in await amtool("config", "show")
    assert "pages" in await amtool("config", "routes", "show")
    assert (await amtool("config", "routes", "test", "severity=P0")).split() == ["pages"]
    assert "disabled" in await amtool("cluster", "show")


# A real Prometheus --------------------------------------------------------------------------------------------------


@dataclass
class Gauge:
    """A target whose one value a test sets."""

    value: int = 1
    address: str = ""


@asynccontextmanager
async def scraped() -> AsyncIterator[Gauge]:
    gauge = Gauge()

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=f"working {gauge.value}\n")

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    gauge.address = f"127.0.0.1:{runner.addresses[0][1]}"
    yield gauge
    await runner.cleanup()


RULES = """
groups:
  - name: target
    rules:
      - {alert: NotWorking, expr: working == 0, labels: {severity: P0}, annotations: {summary: "it does not work"}}
"""


@asynccontextmanager
async def prometheus(program: Path, site: Site, target: str, *, repeats: str = "200ms") -> AsyncIterator[None]:
    """Watches the target, and has the daemon for its Alertmanager."""
    folder = site.folder / "prometheus"
    folder.mkdir(exist_ok=True)
    (folder / "rules.yml").write_text(RULES)
    config = {
        "global": {"scrape_interval": "200ms", "evaluation_interval": "200ms", "scrape_timeout": "200ms",
                   "external_labels": {"cluster": "eu"}},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "target", "static_configs": [{"targets": [target]}]}],
        "alerting": {
            "alertmanagers": [
                {"static_configs": [{"targets": [site.address]}], "authorization": {"credentials": site.token}}
            ]
        },
    }  # fmt: skip
    (folder / "prometheus.yml").write_text(json.dumps(config))
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            str(program), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
            "--web.listen-address=127.0.0.1:0", f"--rules.alert.resend-delay={repeats}", stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield
    finally:
        process.kill()
        await process.wait()


async def test_a_real_prometheus_sends_its_alerts_here(real_peer: Peer, site: Site) -> None:
    """One message however often it repeats itself, through a kill -9 of the daemon too; and its end in the thread."""
    program = real_peer("prometheus")
    # What it sends ends by itself after four repeats: the daemon has that long to come back on a busy machine.
    async with scraped() as gauge, prometheus(program, site, gauge.address, repeats="5s"):
        gauge.value = 0
        await eventually(lambda: len(site.slack.posted()) == 1)
        (alert,) = await site.get("/api/v2/alerts")
        assert alert["labels"] == {
            "alertname": "NotWorking", "cluster": "eu", "instance": gauge.address, "job": "target", "severity": "P0",
        }  # fmt: skip
        assert "working" in alert["generatorURL"]

        async def repeated() -> bool:
            return bool((await site.get("/api/v2/alerts"))[0]["updatedAt"] > alert["updatedAt"])

        await eventually(repeated)
        await site.daemon.kill()
        # It must come back where Prometheus looks for it.
        config = json.loads((site.folder / "config.yaml").read_text())
        config["web"]["listen"] = site.address
        (site.folder / "config.yaml").write_text(json.dumps(config))
        await site.daemon.start()
        await eventually(lambda: _shown(site))
        (again,) = await site.get("/api/v2/alerts")
        assert (again["fingerprint"], again["startsAt"]) == (alert["fingerprint"], alert["startsAt"])
        gauge.value = 1
        await eventually(lambda: _ended(site))
        assert (len(site.slack.posted()), await site.get("/api/v2/alerts")) == (1, [])


async def test_an_alert_of_a_prometheus_that_died_ends_by_its_ends_at(
    real_peer: Peer, amtool: Amtool, site: Site
) -> None:
    """It is grouped, silenced and shown as any other; nobody says that it ended, so its own endsAt does."""
    program = real_peer("prometheus")
    async with scraped() as gauge:
        async with prometheus(program, site, gauge.address):
            gauge.value = 0
            await eventually(lambda: len(site.slack.posted()) == 1)
            (group,) = await site.get("/api/v2/alerts/groups")
            assert (group["receiver"], group["labels"]) == ({"name": "pages"}, {"alertname": "NotWorking"})
            assert await site.get("/api/v2/receivers") == [{"name": "pages"}]
            id = (await amtool("silence", "add", "alertname=NotWorking", "--author=ana", "--comment=seen")).strip()
            (hidden,) = json.loads(await amtool("--output=json", "alert", "query", "--silenced", "--inhibited"))
            assert (hidden["status"]["silencedBy"], hidden["status"]["state"]) == ([id], "suppressed")
            status = await site.get("/api/v2/status")
            assert (status["versionInfo"]["version"], status["cluster"]["status"]) == ("0.25.0", "disabled")
        # Killed. Whoever was told is told the end, though a silence came in between.
        await eventually(lambda: _ended(site))
        assert (len(site.slack.posted()), await site.get("/api/v2/alerts")) == (1, [])


async def _shown(site: Site) -> bool:
    return len(await site.get("/api/v2/alerts")) == 1


def _ended(site: Site) -> bool:
    return len(site.slack.thread(site.slack.posted()[0])) >= 1
