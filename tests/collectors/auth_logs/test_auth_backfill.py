"""What a drain missed is fetched from the Management API, and nothing of it is counted twice."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from collectors.auth_logs.settings import AuthLogsSettings
from collectors.auth_logs.sources.drain import DrainInlet
from collectors.auth_logs.sources.spool import KEPT, NAME
from tocsin.testing.supabase import FakeManagement, LogFault

# Types of this folder's conftest, which a test can't import.
Auth = Any
Lines = Any
FAILURES = "tocsin_auth_failures_total"
FETCHED = "tocsin_auth_log_backfilled_total"
GAPS = "tocsin_auth_log_gaps_total"


class Project:
    """A project whose log goes to our drain and to the Management API, while one of them or both are there."""

    def __init__(self, auth: Auth, lines: Lines, api: FakeManagement, folder: Path) -> None:
        self.auth, self.api = auth, api
        self._lines, self._folder = lines, folder
        self._number = 0
        self.inlet: DrainInlet | None = None
        auth.now = datetime.now(UTC).replace(microsecond=0)

    @property
    def settings(self) -> dict[str, Any]:
        backfill = {"project": self.api.project, "token": self.api.token, "base_url": self.api.url, "interval": 60}
        return {"source": {"drain": {"backfill": backfill, "spool_bytes": 1 << 20}}, "interval": 10, "deadline": 60}

    def start(self) -> None:
        """The daemon comes up."""
        read = AuthLogsSettings.model_validate({"kind": "auth_logs", "name": "auth", **self.settings})
        self.inlet = DrainInlet(read, self._folder)
        self.auth.start(**self.settings)

    async def stop(self) -> None:
        """It goes down."""
        assert self.inlet is not None
        await self.inlet.close()
        await self.auth.collector.close()
        self.inlet = None

    async def fail(self, count: int = 1, *, ids: bool = True, drained: bool = True, late: float = 0.0) -> list[bytes]:
        """Somebody's password is wrong. `ids`: the drain and the API call an event the same. `drained`: its batch
        arrives, if we are there. `late`: seconds ago."""
        at = self.auth.now - timedelta(seconds=late)
        found: list[dict[str, Any]] = []
        for _ in range(count):
            self._number += 1
            line = self._lines.failed(request_id=f"r-{self._number}", time=at.isoformat())
            self.api.add(line, at=at, id=f"e-{self._number}")
            id = f"e-{self._number}" if ids else f"drain-{self._number}"
            found.append({"event_message": line.decode(), "id": id, "timestamp": 1})
        batches = [orjson.dumps(found[begin : begin + 250]) for begin in range(0, count, 250)]
        if drained and self.inlet is not None:
            await self.bring(batches)
        return batches

    async def bring(self, batches: list[bytes]) -> None:
        assert self.inlet is not None
        for batch in batches:
            await self.inlet.take(batch)

    async def counts(self, after: float = 10.0) -> tuple[float | None, float | None, float | None]:
        """Failures, how many of them were fetched, and gaps, a poll later."""
        seen = await self.auth.poll(after)
        return seen.value(FAILURES), seen.value(FETCHED), seen.value(GAPS)


@pytest.fixture
async def project(auth: Auth, lines: Lines, tmp_path: Path) -> AsyncIterator[Project]:
    async with FakeManagement() as api:
        found = Project(auth, lines, api, tmp_path)
        yield found
        if found.inlet is not None:
            await found.stop()


@pytest.mark.parametrize("ids", [True, False], ids=["same ids", "ids of their own"])
async def test_what_was_logged_while_we_were_down_is_counted_once(project: Project, ids: bool) -> None:
    """And what came by the drain is not counted again, whether the two call it the same or not."""
    project.start()
    await project.fail(3, ids=ids)
    assert await project.counts() == (3, 0, 0)
    await project.fail(2, ids=ids)
    assert await project.counts(after=90) == (5, 0, 0)
    await project.stop()
    project.auth.now += timedelta(hours=3)
    await project.fail(7, ids=ids)
    project.auth.now += timedelta(hours=1)
    project.start()
    await project.fail(2, ids=ids)
    assert await project.counts() == (14, 7, 0)
    for _ in range(4):
        await project.fail(ids=ids)
        await project.counts(after=70)
    assert await project.counts(after=70) == (18, 7, 0)


async def test_a_batch_that_was_lost_on_the_way_is_found(project: Project) -> None:
    """The daemon need not have been down."""
    project.start()
    await project.fail()
    assert await project.counts() == (1, 0, 0)
    await project.fail(5, drained=False)
    assert await project.counts(after=30) == (1, 0, 0)  # it may be on its way
    assert await project.counts(after=60) == (6, 5, 0)
    assert await project.counts(after=60) == (6, 5, 0)


@pytest.mark.parametrize("ids", [True, False], ids=["same ids", "ids of their own"])
async def test_a_batch_that_comes_after_it_was_fetched_adds_nothing(project: Project, ids: bool) -> None:
    """Also when we were restarted in between."""
    project.start()
    await project.fail(ids=ids)
    await project.counts()
    late = await project.fail(4, ids=ids, drained=False)
    assert await project.counts(after=90) == (5, 4, 0)
    await project.stop()
    project.start()
    await project.bring(late)
    await project.fail(ids=ids)
    assert await project.counts() == (6, 4, 0)
    assert await project.counts(after=90) == (6, 4, 0)


async def test_what_was_there_before_the_first_start_is_history(project: Project) -> None:
    """Nobody was told of it when it happened."""
    await project.fail(9, drained=False)
    project.auth.now += timedelta(seconds=1)
    project.start()
    await project.counts()
    await project.fail()
    assert await project.counts(after=90) == (1, 0, 0)


async def test_more_than_a_page_was_missed(project: Project) -> None:
    """Page after page, each as a step of its own."""
    project.start()
    await project.fail()
    await project.counts()
    for _ in range(5):
        project.auth.now += timedelta(seconds=1)
        await project.fail(500, drained=False)
    assert await project.counts(after=120) == (2501, 2500, 0)


async def test_an_api_that_does_not_answer_costs_nothing_but_time(project: Project) -> None:
    """The drain is told all the same; what was missed is unknown, and found later. No row proves nothing."""
    project.start()
    await project.fail()
    await project.counts()
    await project.fail(2, drained=False)
    project.api.faults.extend([LogFault.BROKEN, LogFault.EMPTY, LogFault.EMPTY])
    await project.fail()
    seen = await project.auth.poll(after=90)
    assert (seen.value(FAILURES), seen.of(FETCHED)) == (2, [])
    assert "what the drain missed is not known" in seen.blind[0]
    assert await project.counts(after=60) == (2, 0, 0)  # both names of the column without a row
    assert await project.counts(after=60) == (4, 2, 0)


async def test_longer_than_the_api_reaches_back_is_a_gap(project: Project) -> None:
    """What is older than a day can't be asked for."""
    project.start()
    await project.fail()
    await project.counts()
    await project.stop()
    project.auth.now += timedelta(hours=2)
    await project.fail(3)
    project.auth.now += timedelta(hours=30)
    await project.fail(4)
    project.auth.now += timedelta(minutes=5)
    project.start()
    await project.fail()
    assert await project.counts() == (6, 4, 1)


async def test_what_was_not_compared_yet_stays_in_the_spool(project: Project, tmp_path: Path) -> None:
    """The spool is the memory of what came. Without room for it, comparing begins anew and a gap is told."""
    folder = tmp_path / "auth-drain"
    project.start()

    async def begin_anew(count: int) -> Path:
        """So many events, then a new file, and an API that is down for a quarter of an hour."""
        for begin in range(0, count, 500):
            await project.fail(min(500, count - begin))
            project.auth.now += timedelta(seconds=1)
        begun = project.auth.now.timestamp()
        await project.counts()
        assert project.inlet is not None
        project.inlet._spool._begun -= KEPT
        await project.fail()
        (old,) = folder.glob(f"{NAME}.*")
        os.utime(old, (begun, begun))
        for _ in range(3):
            project.api.faults.append(LogFault.BROKEN)
            await project.counts(after=190)
        await project.counts(after=30)
        project.api.faults.append(LogFault.BROKEN)
        return old

    await project.counts()
    old = await begin_anew(1)
    await project.counts(after=70)
    assert old.exists()
    assert await project.counts(after=70) == (2, 0, 0)  # compared
    assert await project.counts() == (2, 0, 0)
    assert not old.exists()
    old = await begin_anew(2500)
    seen = await project.auth.poll(70)
    assert (old.exists(), seen.value(FAILURES), seen.value(GAPS)) == (False, 2503, 1)
    assert await project.counts(after=90) == (2503, 0, 1)


async def test_state_from_before_it_was_set_up_and_broken_state(project: Project) -> None:
    """Where nothing was compared yet, comparing begins now."""
    project.start()
    await project.fail()
    await project.counts()
    await project.stop()
    saved = json.loads(project.auth.checkpoint._path.read_text())
    del saved["position"]["backfill"]
    project.auth.checkpoint._path.write_text(json.dumps(saved))
    await project.fail(3)
    project.auth.now += timedelta(seconds=1)
    project.start()
    await project.counts()
    await project.fail(2, drained=False)
    assert await project.counts(after=90) == (3, 2, 0)
