"""The auth_logs collector on real files: what it counts, what it keeps across restarts, what it says when blind."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from collectors.auth_logs.declarations import BACKFILLED, METRICS, TABLES
from collectors.auth_logs.settings import AuthLogsSettings
from tocsin.tasks import end_tasks
from tocsin.testing.supabase import FakeAuth

# Types of this folder's conftest, which a test can't import.
Auth = Any
Lines = Any

FAILURES = "tocsin_auth_failures_total"
ATTEMPTS = "tocsin_auth_sign_in_attempts_total"


async def test_a_first_start_counts_nothing_old(auth: Auth, lines: Lines) -> None:
    """What the file holds at the first start ever is not counted, and the counters stand at zero."""
    auth.write(lines.failed(), lines.login())
    auth.start()
    seen = await auth.poll()
    assert (seen.value(ATTEMPTS), seen.value("tocsin_auth_log_up")) == (0, 1)
    assert seen.value(FAILURES) is None


async def test_the_first_burst_of_an_address_begins_at_zero(auth: Auth, lines: Lines) -> None:
    """A label set that is new was zero at the poll before: in the sample's `created`, and as a sample of its own."""
    auth.write(lines.login())
    auth.start()
    await auth.poll()
    before = auth.now
    auth.write(*[lines.failed("203.0.113.9")] * 20)
    seen = await auth.poll()
    burst = [sample for sample in seen.samples if sample.name == FAILURES]
    assert [(s.value, s.at, s.created) for s in burst] == [(0, before, None), (20, auth.now, before)]
    assert burst[0].labels == burst[1].labels
    again = [sample for sample in (await auth.poll()).samples if sample.name == FAILURES]
    assert [(s.value, s.created) for s in again] == [(20, before)]


async def test_a_backlog_is_no_burst(auth: Auth, lines: Lines) -> None:
    """`start: beginning` counts what is there as history: no zero before it."""
    auth.write(*[lines.failed()] * 50)
    auth.start(start="beginning")
    (sample,) = (await auth.poll()).of(FAILURES)
    assert (sample.value, sample.created) == (50, None)


async def test_addresses_are_hashed_the_same_way_after_a_restart(auth: Auth, lines: Lines) -> None:
    """The salt is kept: one address stays one series; the address itself is nowhere in labels or checkpoint."""
    auth.start()
    auth.write(b"")
    await auth.poll()
    auth.write(lines.failed("203.0.113.9"))
    first = (await auth.poll()).of(FAILURES)
    await auth.collector.close()
    auth.start()
    auth.write(lines.failed("203.0.113.9"))
    second = (await auth.poll()).of(FAILURES)
    assert [(s.labels, s.value) for s in second] == [(first[0].labels, 2)]
    assert first[0].labels["ip"].startswith("ip-")
    assert b"203.0.113" not in (await auth.checkpoint.load())


async def test_addresses_can_be_shown(auth: Auth, lines: Lines) -> None:
    """`show_ips` shows them; switched off again, no clear address is taken over."""
    auth.write(b"{}")
    auth.start(show_ips=True)
    await auth.poll()
    auth.write(lines.failed("203.0.113.9"), lines.failed("2001:db8:1:2:3::4"), lines.failed("::ffff:192.0.2.1"))
    shown = {sample.labels["ip"] for sample in (await auth.poll()).of(FAILURES)}
    assert shown == {"203.0.113.9", "2001:db8:1:2::/64", "192.0.2.1"}
    await auth.collector.close()
    auth.start()
    assert (await auth.poll()).of(FAILURES) == []


async def test_position_and_counters_agree_after_a_crash(auth: Auth, lines: Lines) -> None:
    """A collector that is dropped without a word is followed by one that counts on: nothing twice, nothing lost."""
    auth.write(b"{}")
    auth.start()
    await auth.poll()
    for expected in range(1, 6):
        auth.write(lines.failed(), lines.login())
        seen = await auth.poll()
        assert (seen.value(ATTEMPTS, outcome="failure"), seen.value(ATTEMPTS, outcome="success")) == (expected,) * 2
        auth.start()


async def test_a_full_disk_under_the_checkpoint_stops_nothing(auth: Auth, lines: Lines) -> None:
    """Counting goes on from memory, and the next save that works holds all."""
    auth.write(b"{}")
    auth.start()
    await auth.poll()
    auth.checkpoint.broken = True
    auth.write(lines.failed())
    assert (await auth.poll()).value(FAILURES) == 1
    auth.checkpoint.broken = False
    await auth.poll()
    auth.start()
    assert (await auth.poll()).value(FAILURES) == 1


@pytest.mark.parametrize("blob", [b"", b"{", b"[]", b'{"version":1}', b'{"version":99}', b"null"])
async def test_a_checkpoint_that_cannot_be_read_is_a_gap(auth: Auth, lines: Lines, blob: bytes) -> None:
    """It begins anew and says that something may be lost, instead of failing at every start."""
    auth.write(lines.failed())
    await auth.checkpoint.save(blob)
    auth.start()
    assert (await auth.poll()).value("tocsin_auth_log_gaps_total") == 1


async def test_a_missing_file_is_blind_until_it_appears(auth: Auth, lines: Lines) -> None:
    """Missing: up 0, a way out, and no counters (unknown is not zero). Then every line counts."""
    auth.start()
    seen = await auth.poll()
    assert [(s.name, s.value) for s in seen.samples] == [("tocsin_auth_log_up", 0)]
    assert "does not exist; check source.file" in seen.blind[0]
    auth.write(lines.failed())
    seen = await auth.poll()
    assert (seen.value("tocsin_auth_log_up"), seen.value(FAILURES), seen.blind) == (1, 1, [])


async def test_an_unreadable_file_says_how_to_allow_it(auth: Auth, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message holds the command. (Tests may run as root, who may read everything: the refusal is made here.)"""
    auth.write(b"{}")
    opened = os.open

    def refuse(path: Any, *more: Any, **named: Any) -> int:
        if path == auth.log:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *more, **named)

    monkeypatch.setattr(os, "open", refuse)
    auth.start()
    seen = await auth.poll()
    assert (seen.value("tocsin_auth_log_up"), "setfacl -m u:" in seen.blind[0]) == (0, True)


async def test_a_folder_is_blind(auth: Auth) -> None:
    """What is no file can't be followed, and the reason says so."""
    auth.log.mkdir()
    auth.start()
    assert "must be a regular file" in (await auth.poll()).blind[0]


@pytest.mark.parametrize("limit", [{"bytes_per_poll": 65_536}, {"deadline": 1e-5}])
async def test_a_backlog_is_worked_off_in_portions(auth: Auth, lines: Lines, limit: dict[str, float]) -> None:
    """A poll reads `bytes_per_poll` at most, or for half its deadline, and asks for the next one at once."""
    auth.write(*[lines.failed()] * 3000)
    auth.start(start="beginning", **limit)
    first = await auth.poll()
    assert (auth.pokes, first.value("tocsin_auth_log_unread_bytes") > 0) == (1, True)
    while auth.pokes:
        auth.pokes = 0
        last = await auth.poll()
    assert (last.value(FAILURES), last.value("tocsin_auth_log_unread_bytes")) == (3000, 0)
    assert [s.created for s in last.of(FAILURES)] == [None]


async def test_growth_asks_for_a_poll(auth: Auth, lines: Lines) -> None:
    """The watcher pokes when the file grows, and not while it stays as it is."""
    auth.write(b"{}")
    auth.start(watch=0.01, interval=0.1)
    await auth.poll()
    auth.write(lines.failed())
    async with asyncio.timeout(30):
        while not auth.pokes:
            await asyncio.sleep(0.01)
    await auth.poll()
    auth.pokes = 0
    # Ten looks later it has still nothing to say.
    looks = 0
    signature = auth.collector._log[0].signature

    def counted() -> object:
        nonlocal looks
        looks += 1
        return signature()

    auth.collector._log[0].signature = counted
    async with asyncio.timeout(30):
        while looks < 10:
            await asyncio.sleep(0.01)
    assert auth.pokes == 0


async def test_a_poll_that_is_cut_short_loses_nothing(auth: Auth, lines: Lines) -> None:
    """The runtime may cancel a poll at any await; the next one counts each line once."""
    auth.write(b"{}")
    auth.start()
    await auth.poll()
    for _ in range(30):
        auth.write(*[lines.failed()] * 100)
        poll = asyncio.create_task(auth.poll())
        for _ in range(5):
            await asyncio.sleep(0)
        await end_tasks(poll)
    assert (await auth.poll()).value(FAILURES) == 3000


async def test_all_that_is_yielded_is_declared(auth: Auth, lines: Lines) -> None:
    """Every name and label stands in METRICS; test_auth_tables.py shows those of the tables."""
    shown = [metric for metric in METRICS if metric not in TABLES]
    declared = {name: set(metric.labels) | {"le"} for metric in shown for name in metric.series_names()}
    auth.write(b"{}")
    async with FakeAuth() as supabase:
        posture = {"url": supabase.address, "api_key": supabase.api_key, "interval": "1h"}
        auth.start(posture=posture, events={"keep": "1h"})
        await auth.poll()
    auth.write(
        lines.failed(), lines.login(), lines.audit("login"), lines.request(status=429), b"broken",
        lines.request("/factors/f1/verify", 422, error_code="mfa_verification_failed"),
        lines.request("/admin/users/u1", 200, method="DELETE"),
        b'{"msg":"Hook errored out","hook":"pg-functions://postgres/public/gate","error":"no"}',
        lines.granted(), *(lines.attempt(user, ip) for user in ("u1", "u2") for ip in ("192.0.2.1", "192.0.2.2")),
    )  # fmt: skip
    seen = await auth.poll()
    for sample in seen.samples:
        assert set(sample.labels) <= declared[sample.name], sample
    assert {sample.name for sample in seen.samples} == set(declared) - {BACKFILLED.name}


async def test_a_copytruncate_between_polls_counts_each_line_once(auth: Auth, lines: Lines, tmp_path: Path) -> None:
    """The whole way, from file to figure."""
    auth.write(b"{}")
    auth.start()
    await auth.poll()
    auth.write(lines.failed())
    await auth.poll()
    auth.write(lines.failed())
    (tmp_path / "auth.jsonl.1").write_bytes(auth.log.read_bytes())
    os.truncate(auth.log, 0)
    auth.write(lines.failed())
    assert (await auth.poll()).value(FAILURES) == 3


async def test_a_clock_that_jumps_back_counts_on(auth: Auth, lines: Lines) -> None:
    """Neither an error nor a lost line."""
    auth.write(b"{}")
    auth.start()
    await auth.poll()
    auth.write(lines.failed())
    await auth.poll(after=-3600)
    auth.write(lines.failed())
    assert (await auth.poll()).value(FAILURES) == 2


def test_a_wrong_setting_is_named() -> None:
    """Each unknown or wrong key by name."""
    base = {"kind": "auth_logs", "name": "auth", "source": {"file": "x"}}
    for wrong, says in (
        ({"source": {"fil": "x"}}, "source.fil"),
        ({"start": "middle"}, "start"),
        ({"top_ip": 5}, "top_ip"),
        ({"idle": "1s"}, "idle"),
    ):
        with pytest.raises(ValidationError, match=says):
            AuthLogsSettings.model_validate({**base, **wrong})
    assert AuthLogsSettings.model_validate(base).idle == timedelta(hours=1).total_seconds()
