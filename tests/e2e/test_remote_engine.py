"""Rules evaluated on a real server: the same alerts as here, and unknown is not OK when it is away."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tocsin.model import STALE, Labels, Sample, Transition, utc
from tocsin.rules import Group, load_text
from tocsin.runtime.evaluation import RuleBook
from tocsin.runtime.remote import Remote
from tocsin.series import Store
from tocsin.series.remote import Destination, Shipper
from tocsin.series.remote.engine import Engine
from tocsin.series.remote.inquiry import Attempt
from tocsin.telemetry.metrics import Telemetry
from tocsin.testing.clock import VirtualClock
from tocsin.testing.tsdb import TimeSeriesServer
from tocsin.testing.waiting import PATIENCE, eventually

RULES = """
groups:
  - name: recorded
    rules:
      - {record: "job:load:sum", expr: sum by (job) (load)}
      - alert: JobBusy
        expr: job:load:sum > 10
        annotations: {summary: "{{ $labels.job }} at {{ $value }}"}
  - name: reading
    interval: 1s
    rules:
      - alert: LoadRises
        expr: rate(load[30s]) > 0.5
        for: 10s
        annotations:
          summary: '{{ $labels.host }}: {{ with query "job:load:sum" }}{{ . | first | value }}{{ end }}'
      - alert: JobBusyForLong
        expr: job:load:sum > 10
        for: 15s
        keep_firing_for: 10s
      - {alert: Gone, expr: absent(load)}
      - {alert: Ticks, expr: 'sum(increase(ticks_total[20s])) >= 4'}
      - {alert: ManyFiring, expr: 'count(ALERTS{alertstate="firing", alertname!="ManyFiring"}) >= 2'}
"""


@dataclass
class Middle:
    """The pipeline's part, without incidents: what the rules say, by time."""

    rules: RuleBook
    store: Store
    transitions: list[Transition] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def is_own(self, group: Group) -> bool:
        return False

    def store_recorded(self, samples: Sequence[Sample]) -> None:
        self.store.append(samples)

    async def try_rules(
        self, book: RuleBook, due: Sequence[Group], attempt: Attempt, now: datetime, sampled_at: datetime | None
    ) -> bool:
        trial = book.copy()
        done = trial.evaluate(
            due, self.store, (), now, sampled_at=sampled_at, record=self.store_recorded, rounds=attempt
        )
        if not attempt.missing:
            self.rules = trial
            self.transitions += done.transitions
            self.problems += [problem.what for _, problem in done.new_problems]
            self.done.set()
        return not attempt.missing


def polls(begin: float) -> list[tuple[float, list[Sample]]]:
    """A minute and a half: loads rise and fall, a host goes away, a counter is seen from its first tick."""
    chance = Random(11)
    found = []
    for step in range(0, 90, 5):
        at = utc(begin + step)
        samples = [
            Sample(name="load", labels=Labels(job=job, host=host), value=load + chance.random() / 10, at=at)
            for job, host, load in (
                ("api", "a", 2.0 + max(0, min(step, 40) - 10) - max(0, step - 50)),
                ("api", "b", 3.0),
                ("db", "c", 1.0 if step % 20 else 14.0),
            )
        ]
        if step == 60:
            samples[1] = Sample(name="load", labels=Labels(job="api", host="b"), value=STALE, at=at)
        elif step > 60:
            del samples[1]
        if step >= 30:
            samples.append(
                Sample(
                    name="ticks_total", labels=Labels(job="t"), value=float(step - 25), at=at, created=utc(begin + 29)
                )
            )
        found.append((begin + step, samples))
    return found


def _kept(store: Store, samples: Sequence[Sample]) -> None:
    store.append(samples)


def told(transitions: Sequence[Transition], begin: float) -> list[tuple[float, str, str, str, str]]:
    return [
        (
            change.at.timestamp() - begin, change.alert.name, repr(change.alert.labels), change.alert.state.value,
            change.alert.annotations.get("summary", ""),
        )
        for change in transitions
    ]  # fmt: skip


@pytest.mark.peer
async def test_the_same_alerts_as_the_embedded_engine(tmp_path: Path, real_peer: Callable[[str], Path]) -> None:
    """Recorded series that rules of the same and of another group read, templates that query, `for`, staleness."""
    real_peer("prometheus")
    begin = float(int(time.time()) - 300)
    groups = load_text(RULES, "rules.yaml")
    here, embedded = Store(), RuleBook(groups)
    expected: list[Transition] = []
    for at, samples in polls(begin):
        here.append(samples)
        names = {sample.name for sample in samples}
        due = embedded.due(names, utc(at))
        done = embedded.evaluate(
            due, here, (), utc(at), sampled_at=utc(at), record=lambda samples: _kept(here, samples)
        )
        expected += done.transitions
    assert len(expected) > 10

    async with TimeSeriesServer("prometheus", tmp_path / "server") as server:
        clock, telemetry, store = VirtualClock(utc(begin)), Telemetry(), Store()
        destination = Destination(name="peer", url=server.write_url, linger=0.0)
        shipper = Shipper(destination, tmp_path / "queue", clock=clock, telemetry=telemetry)
        remote = Remote(
            [shipper], Engine(server.url, headers={}, deadline=10.0), clock=clock, telemetry=telemetry, store=store
        )
        middle = Middle(RuleBook(groups), store)
        remote.start(middle)
        for at, samples in polls(begin):
            await clock.advance(at - clock.now().timestamp())
            store.append(samples)
            middle.done.clear()
            remote.ask({sample.name for sample in samples}, utc(at))
            async with asyncio.timeout(PATIENCE):
                await middle.done.wait()
        await remote.stop(drain=0)
    assert middle.problems == []
    assert told(expected, begin) == told(middle.transitions, begin)


async def test_errors_freeze_alerts_and_an_answer_thaws_them(tmp_path: Path) -> None:
    """5xx, a partial answer, nonsense: the alert stays as it was, with the server's words; an empty vector ends it."""
    found = '{"status":"success","data":{"resultType":"vector","result":[{"metric":{"job":"a"},"value":[1,"9"]}]}}'
    none = '{"status":"success","data":{"resultType":"vector","result":[]}}'
    partial = '{"status":"success","isPartial":true,"data":{"resultType":"vector","result":[]}}'
    said: list[tuple[int, str]] = []
    asked: list[dict[str, str]] = []

    async def query(request: web.Request) -> web.Response:
        asked.append({name: str(value) for name, value in (await request.post()).items()})
        status, text = said[-1]
        return web.Response(status=status, text=text)

    app = web.Application()
    app.router.add_post("/api/v1/query", query)
    clock, telemetry, store = VirtualClock(), Telemetry(), Store()
    groups = load_text("groups: [{name: g, interval: 1s, rules: [{alert: High, expr: load > 5}]}]", "rules.yaml")
    async with TestServer(app) as server:
        engine = Engine(str(server.make_url("")), headers={"X-Scope-OrgID": "team"}, deadline=5.0)
        remote = Remote([], engine, clock=clock, telemetry=telemetry, store=store)
        middle = Middle(RuleBook(groups), store)
        remote.start(middle)
        seen: list[tuple[str, str]] = []
        for answer in ((200, found), (503, "down"), (200, partial), (200, "<html>"), (200, found), (200, none)):
            said.append(answer)
            await clock.advance(5)
            middle.done.clear()
            remote.ask({"load"}, None)
            async with asyncio.timeout(PATIENCE):
                await middle.done.wait()
            seen += [(alert.state.value, alert.frozen_why) for alert in middle.rules.all_alerts().values()] or [
                ("", "")
            ]
        await remote.stop(drain=0)
    assert [state for state, _ in seen] == ["firing"] * 5 + [""]
    assert [bool(why) for _, why in seen] == [False, True, True, True, False, False]
    assert ("HTTP 503" in seen[1][1], "in part" in seen[2][1], "no JSON" in seen[3][1]) == (True, True, True)
    assert (asked[0]["query"], asked[0]["time"]) == ("load > 5", f"{(clock.now().timestamp() - 25):.3f}")


# The daemon ----------------------------------------------------------------------------------------------------------


@dataclass
class Daemon:
    """`tocsin run` on a configuration whose rules VictoriaMetrics evaluates."""

    folder: Path
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tocsin", "run", cwd=self.folder, env=dict(os.environ), stdout=log, stderr=log
            )

    async def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()

    def log(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in (self.folder / "log").read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == event]

    def decided(self) -> list[str]:
        """What was decided to be done, holds apart."""
        return [line["action"] for line in self.log("incident.decided") if line["action"] != "hold"]


@asynccontextmanager
async def watched(folder: Path, server: TimeSeriesServer) -> AsyncIterator[tuple[Daemon, dict[str, float]]]:
    """A daemon that scrapes one gauge; the test sets it."""
    gauge = {"value": 1.0}

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(text=f"# TYPE queue_length gauge\nqueue_length {gauge['value']}\n")

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    async with TestServer(app) as target:
        config = {
            "collectors": [
                {
                    "kind": "scrape",
                    "name": "app",
                    "interval": "300ms",
                    "targets": [{"url": str(target.make_url("/metrics"))}],
                }
            ],
            "rules": ["rules.yaml"],
            "routes": [{"match": {}, "notify": ["screen"]}],
            "notifiers": [{"kind": "console", "name": "screen", "stream": "stderr"}],
            "web": {"listen": "127.0.0.1:0"},
            "telemetry": {"log_format": "json"},
            "external_labels": {"cluster": "eu"},
            "series": {
                "remote_write": [{"url": server.write_url}],
                "engine": {"prometheus": server.url, "deadline": "1s", "settle": "2s"},
            },
        }
        (folder / "config.yaml").write_text(json.dumps(config))
        rules = [{"alert": "QueueLong", "expr": "queue_length > 5", "labels": {"severity": "P0"}}]
        own = [{"alert": "EngineDown", "expr": "tocsin_engine_up == 0", "labels": {"severity": "P1"}}]
        (folder / "rules.yaml").write_text(
            json.dumps({"groups": [{"name": "app", "interval": "1s", "rules": rules}, {"name": "own", "rules": own}]})
        )  # fmt: skip
        daemon = Daemon(folder)
        await daemon.start()
        try:
            yield daemon, gauge
        finally:
            await daemon.end(signal.SIGKILL)


@pytest.mark.peer
async def test_a_server_that_is_away_freezes_alerts_and_goes_on_when_it_is_back(
    tmp_path: Path, real_peer: Callable[[str], Path]
) -> None:
    """VictoriaMetrics stopped: the alert stays, with the reason. Started: nothing is told twice, and the end is."""
    real_peer("victoria-metrics")

    def log_end() -> str:
        return f"; the log ends:\n{(tmp_path / 'log').read_text()[-3000:]}"

    async with TimeSeriesServer("victoria-metrics", tmp_path / "server") as server, watched(tmp_path, server) as (
        daemon, gauge,
    ):  # fmt: skip
        await eventually(lambda: bool(daemon.log("source.seen")) or bool(daemon.log("daemon.started")), says=log_end)
        gauge["value"] = 9.0
        await eventually(lambda: daemon.decided() == ["post"], says=log_end)
        await server.stop()
        await eventually(
            lambda: any("has not acknowledged" in line["error"] for line in daemon.log("rules.problem")),
            says=log_end,
        )
        # Meanwhile the condition ends, and nobody can know.
        gauge["value"] = 2.0
        await eventually(
            lambda: daemon.decided() == ["post", "post"], says=log_end
        )  # the second one: the engine is down
        await server.start()
        await eventually(lambda: "resolve" in daemon.decided(), says=log_end)
        assert daemon.decided().count("post") == 2

        async def whole() -> bool:
            found = await server.query('count_over_time(queue_length{cluster="eu", job="app"}[5m])', time.time())
            return bool(found) and float(found[0]["value"][1]) > 10

        await eventually(whole, says=log_end)
        assert await daemon.end(signal.SIGTERM) == 0
