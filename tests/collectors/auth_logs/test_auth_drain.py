"""The log drain: a batch that was taken is on the disk, is counted once, and what is wrong with one is told."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from collectors.auth_logs import SPEC
from collectors.auth_logs.settings import AuthLogsSettings
from collectors.auth_logs.sources.drain import DrainInlet, inlet_of
from collectors.auth_logs.sources.spool import KEPT, NAME, Spool, line_of

# Types of this folder's conftest, which a test can't import.
Auth = Any
Lines = Any
DRAIN = {"source": {"drain": {}}}
FAILURES = "tocsin_auth_failures_total"
GAPS = "tocsin_auth_log_gaps_total"


def settings_of(**drain: Any) -> AuthLogsSettings:
    return AuthLogsSettings.model_validate({"kind": "auth_logs", "name": "auth", "source": {"drain": drain}})


def event(line: bytes, id: str = "", **more: Any) -> dict[str, Any]:
    return {"event_message": line.decode(), "id": id, "timestamp": 1787217164000000, "project": "p", **more}


def batch(*lines: bytes, begin: int = 0) -> bytes:
    return orjson.dumps([event(line, f"e{begin + index}") for index, line in enumerate(lines)])


@pytest.fixture
async def inlet(tmp_path: Path) -> Any:
    found = DrainInlet(settings_of(), tmp_path)
    yield found
    await found.close()


async def test_what_was_posted_is_counted_once(auth: Auth, lines: Lines, inlet: DrainInlet) -> None:
    """A batch that is sent again adds nothing, late or at once, before and after a restart of either side."""
    auth.start(**DRAIN)
    failed = batch(*[lines.failed()] * 5)
    assert await inlet.take(failed) == {"accepted": 5, "duplicates": 0, "ignored": 0}
    assert await inlet.take(failed) == {"accepted": 0, "duplicates": 5, "ignored": 0}
    assert (await auth.poll()).value(FAILURES) == 5
    await auth.collector.close()
    await inlet.close()
    auth.start(**DRAIN)
    again = DrainInlet(settings_of(), auth.log.parent)
    assert await again.take(failed) == {"accepted": 0, "duplicates": 5, "ignored": 0}
    assert await again.take(batch(lines.failed(), begin=5)) == {"accepted": 1, "duplicates": 0, "ignored": 0}
    seen = await auth.poll()
    assert (seen.value(FAILURES), seen.value(GAPS)) == (6, 0)
    await again.close()


async def test_before_the_first_batch_it_is_blind(auth: Auth) -> None:
    """A drain that was never set up is not a quiet one, and the reason says where it is set up."""
    auth.start(**DRAIN)
    seen = await auth.poll()
    assert seen.value("tocsin_auth_log_up") == 0
    assert "add a log drain" in seen.blind[0]
    assert "/ingest/auth-logs" in seen.blind[0]


async def test_events_of_other_services_are_left_out(auth: Auth, lines: Lines, inlet: DrainInlet) -> None:
    """A drain sends everything; Auth's lines are JSON objects. Where the text is missing its fields are read."""
    fields = orjson.loads(lines.failed())
    sent = [
        event(b"GET | 200 | 203.0.113.7 | /rest/v1/x", "a"),
        event(b'connection authorized: user="x"', "b"),
        {"id": "c", "timestamp": 1, "metadata": [{"host": "db"}]},
        {"id": "d", "timestamp": 1, "event_message": "request completed", "metadata": [fields]},
        {"id": "e", "timestamp": 1, "event_message": None, "metadata": fields},
        event(lines.failed().replace(b", ", b",\n"), "f"),
    ]
    auth.start(**DRAIN)
    assert await inlet.take(orjson.dumps(sent)) == {"accepted": 3, "duplicates": 0, "ignored": 3}
    seen = await auth.poll()
    assert (seen.value(FAILURES), seen.value("tocsin_auth_log_lines_total", outcome="broken")) == (3, 0)


async def test_events_without_an_id_are_told_apart_by_what_they_say(inlet: DrainInlet, lines: Lines) -> None:
    """Equal in time and text: the same event."""
    sent = [{"event_message": lines.failed(ip).decode(), "timestamp": t} for ip, t in (("a", 1), ("a", 1), ("a", 2))]
    assert await inlet.take(orjson.dumps(sent)) == {"accepted": 2, "duplicates": 1, "ignored": 0}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"event_message":"x"}', "array of events"),
        (b"[1]", "event 0 is not an object"),
        (b'[{},"x"]', "event 1 is not an object"),
        (b"[" + b"{}," * 1000 + b"{}]", "1001 events"),
    ],
)
async def test_what_is_no_batch_is_refused_whole(inlet: DrainInlet, tmp_path: Path, body: bytes, why: str) -> None:
    """The reason names the event; nothing of it is kept."""
    with pytest.raises(ValueError, match=why):
        await inlet.take(body)
    assert not (tmp_path / "auth-drain" / NAME).exists()


async def test_a_spool_that_is_full_takes_no_more(tmp_path: Path, lines: Lines) -> None:
    """The sender is told, and the disk is not filled."""
    inlet = DrainInlet(settings_of(spool_bytes=1 << 20), tmp_path)
    many = [batch(*[lines.failed(padding="x" * 1000)] * 500, begin=500 * part) for part in range(3)]
    await inlet.take(many[0])
    with pytest.raises(OSError, match="spool_bytes"):
        await inlet.take(many[1])
    await inlet.close()


def test_a_write_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    """kill -9 in the middle of a line: the next batch begins on a line of its own."""
    (tmp_path / NAME).write_bytes(b"0123456789abcdef {}\n0123456789abcd")
    spool = Spool(tmp_path, most_bytes=1 << 20)
    assert spool.add([("one", b'{"x":1}')]) == (1, 0)
    spool.close()
    rows = (tmp_path / NAME).read_bytes().splitlines()
    assert [line_of(row) for row in rows] == [b"{}", b"", b'{"x":1}']


async def test_files_of_the_spool_are_deleted_when_they_were_read(auth: Auth, lines: Lines, inlet: DrainInlet) -> None:
    """What was counted is kept ten minutes to know an event that comes again, and then no longer: it is personal."""
    folder = auth.log.parent / "auth-drain"
    auth.now = auth.now.fromtimestamp(time.time(), tz=auth.now.tzinfo)
    auth.start(**DRAIN)
    await inlet.take(batch(lines.failed()))
    await auth.poll()
    inlet._spool._begun -= KEPT
    await inlet.take(batch(lines.failed(), begin=1))
    assert len(list(folder.iterdir())) == 2
    for _ in range(3):
        seen = await auth.poll(after=70)
    (old,) = folder.glob(f"{NAME}.*")
    os.utime(old, (0, 0))
    seen = await auth.poll()
    assert [path.name for path in folder.iterdir()] == [NAME]
    assert (seen.value(FAILURES), seen.value(GAPS)) == (2, 0)
    await auth.collector.close()
    auth.start(**DRAIN)
    seen = await auth.poll()
    assert (seen.value(FAILURES), seen.value(GAPS)) == (2, 0)


async def test_the_spool_is_for_our_eyes(inlet: DrainInlet, lines: Lines, tmp_path: Path) -> None:
    """Addresses of people are in it."""
    await inlet.take(batch(lines.failed()))
    folder = tmp_path / "auth-drain"
    assert (folder.stat().st_mode & 0o777, (folder / NAME).stat().st_mode & 0o777) == (0o700, 0o600)


async def test_many_senders_at_once(auth: Auth, lines: Lines, inlet: DrainInlet) -> None:
    """Batches that overlap each other: every event once."""
    auth.start(**DRAIN)
    await asyncio.gather(*(inlet.take(batch(*[lines.failed()] * 60, begin=20 * part)) for part in range(20)))
    assert (await auth.poll()).value(FAILURES) == 20 * 20 + 40


def test_who_has_a_drain() -> None:
    """A collector that follows a file has no inlet; a secret admits itself only."""
    file = AuthLogsSettings.model_validate({"kind": "auth_logs", "name": "a", "source": {"file": "x"}})
    assert SPEC.inlet is inlet_of
    assert inlet_of(file, Path()) is None
    inlet = inlet_of(settings_of(secret="a-long-enough-secret"), Path())
    assert inlet is not None
    assert [inlet.admits(each) for each in ("a-long-enough-secret", "a-long-enough-secreT", "", "ü")] == [
        True, False, False, False,
    ]  # fmt: skip
    assert not DrainInlet(settings_of(), Path()).admits("")


def test_no_two_collectors_share_a_spool() -> None:
    """Each would count what the other's drain sent."""
    named = [settings_of().model_copy(update={"name": name}) for name in ("auth", "shop")]
    assert [each.spool for each in named] == ["auth-drain", "shop-drain"]
    assert [each.events_folder for each in named] == ["auth-events", "shop-events"]
    assert settings_of(spool="/var/spool/x").spool == "/var/spool/x"


@pytest.mark.parametrize("source", [{}, {"file": "x", "drain": {}}])
def test_a_source_is_one(source: dict[str, Any]) -> None:
    """None or two is a slip, and is told as one."""
    with pytest.raises(ValidationError, match="name exactly one of file, drain"):
        AuthLogsSettings.model_validate({"kind": "auth_logs", "name": "a", "source": source})
