"""Who failed for whom: users and addresses, as series of their own and as estimates in sliding windows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import exp, sqrt
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from collectors.auth_logs import SPEC
from collectors.auth_logs.counts import Counts
from collectors.auth_logs.naming import digest
from collectors.auth_logs.quiet import Quiet
from collectors.auth_logs.recent import CELLS, Recent, Spread

AT = datetime(2026, 8, 20, 9, 0, tzinfo=UTC)
TICK = timedelta(seconds=10)
# A type of this folder's conftest, which a test can't import.
Lines = Any


def counts(**changes: Any) -> Counts:
    counting = Counts(**{"salt": b"salt", "top_ips": 3, "top_users": 3, "idle": 3600, "show_ips": True, **changes})
    counting.settle(AT - TICK, None)
    return counting


def told(counting: Counts, name: str, at: datetime = AT) -> dict[str, float]:
    counting.settle(at, at - TICK)
    return {repr(s.labels): s.value for s in counting.samples(at, None) if s.name == name and s.value}


@given(st.sets(st.integers(0, 1 << 63), max_size=300))
def test_different_members_are_counted_about_right(members: set[int]) -> None:
    """Within five standard errors of linear counting, which for 300 in 512 cells is a few per cent."""
    recent = Recent()
    for member in [*members, *members]:
        recent.see(crc32(str(member).encode()), 100.0)
    # Two members in one cell are the only cause of error: n²/2m pairs are expected to share one.
    assert abs(recent.count(60, 100.0) - len(members)) <= 3 + 0.15 * len(members)


@pytest.mark.parametrize("members", [15, 50, 300, 1000, 2000])
def test_the_error_is_that_of_linear_counting(members: int) -> None:
    """Four standard errors by Whang et al., sqrt(e^t - t - 1) / (t sqrt(m)) with t = n / m; one is 8 % at 2,000."""
    load = members / CELLS
    bound = 4 * sqrt(exp(load) - load - 1) / (load * sqrt(CELLS))
    for crowd in range(8):
        recent = Recent()
        for member in range(members):
            recent.see(int.from_bytes(digest(b"salt", f"{crowd} {member}", 8)), 1.0)
        assert abs(recent.count(60, 1.0) - members) <= bound * members + 1


def test_a_window_slides() -> None:
    """What was seen a window ago is out, to the second."""
    recent = Recent()
    recent.see(1, 100.0)
    recent.see(2, 150.0)
    assert [recent.count(60, at) for at in (150.0, 159.9, 160.0, 209.9, 210.0)] == [2, 2, 1, 1, 0]


def test_a_sketch_that_is_full_reads_a_lower_bound() -> None:
    """And holds no more than its cells."""
    recent = Recent()
    for member in range(100 * CELLS):
        recent.see(member, 1.0)
    assert (len(recent), recent.count(60, 1.0) >= 6 * CELLS) == (CELLS, True)


def test_subjects_are_bounded() -> None:
    """Those seen last are remembered, those of the most members told."""
    spread = Spread(2)
    for subject in range(10_000):
        for member in range(1 + subject % 7):
            spread.see(str(subject), member, 1.0)
    assert ([count for _, count in spread.counts(60, 1.0)], len(spread.to_json()) <= 4096) == ([7, 7], True)


def test_users_are_known_from_the_hook(lines: Lines) -> None:
    """By user how often, by user from how many addresses, by address for how many users. Right passwords are none."""
    counting = counts()
    counting.take([lines.attempt(user, "192.0.2.1") for user in "abcde"])
    counting.take([lines.attempt("a", f"192.0.2.{n}") for n in range(2, 5)])
    counting.take([lines.attempt("z", "192.0.2.1", valid=True), lines.attempt("", "192.0.2.1")])
    counting.settle(AT, AT - TICK)
    found = {(s.name, s.labels.get("window"), s.value) for s in counting.samples(AT, None)}
    assert ("tocsin_auth_address_failing_users", "15m", 5) in found
    assert ("tocsin_auth_user_failing_ips", "30m", 4) in found
    assert ("tocsin_auth_failing_users", "1h", 5) in found
    by_user = [s for s in counting.samples(AT, None) if s.name == "tocsin_auth_user_failures_total"]
    assert sorted((s.labels["user"] == "other", s.value) for s in by_user) == [
        (False, 1),
        (False, 1),
        (False, 4),
        (True, 2),
    ]
    assert all(s.labels["user"].startswith("user-") or s.labels["user"] == "other" for s in by_user)


def test_failing_addresses_are_counted_beyond_those_with_series(lines: Lines) -> None:
    """A hundred addresses, three of which have series."""
    counting = counts()
    counting.take([lines.failed(f"192.0.2.{n}") for n in range(100)])
    assert 95 <= told(counting, "tocsin_auth_failing_ips")['{window="15m"}'] <= 105
    later = AT + timedelta(minutes=20)
    assert set(told(counting, "tocsin_auth_failing_ips", later)) == {'{window="30m"}', '{window="1h"}'}


def test_what_is_read_before_the_end_was_reached_is_not_just_now(lines: Lines) -> None:
    """A backlog of a day is no crowd of this minute."""
    counting = counts()
    counting.take([lines.failed(f"192.0.2.{n}") for n in range(100)])
    counting.settle(AT, None)
    assert told(counting, "tocsin_auth_failing_ips", AT + TICK) == {}


def test_sign_ins_count_beside_failures_of_their_address(lines: Lines) -> None:
    """An address that never failed has none; one that loses its place begins anew."""
    counting = counts()
    counting.take([lines.failed("192.0.2.1"), *[lines.granted("192.0.2.1")] * 2, lines.granted("192.0.2.9")])
    assert told(counting, "tocsin_auth_address_sign_ins_total") == {'{ip="192.0.2.1"}': 2}
    counting.take([lines.failed(f"198.51.100.{n}") for n in range(3) for _ in range(9)])
    assert told(counting, "tocsin_auth_address_sign_ins_total", AT + TICK) == {}


def test_refusals_are_summed_without_addresses(lines: Lines) -> None:
    """By reason and provider, whoever has a place."""
    counting = counts()
    counting.take([lines.failed(f"192.0.2.{n}") for n in range(100)])
    counting.take([lines.request(status=400, grant_type="pkce", error_code="flow_state_expired")])
    assert told(counting, "tocsin_auth_refusals_total") == {
        '{flow="sign_in", provider="password", reason="invalid_credentials"}': 100,
        '{flow="sign_in", provider="pkce", reason="flow_state_expired"}': 1,
    }


def test_everyday_work_of_administrators_is_told_apart(lines: Lines) -> None:
    """By what is done and where it comes from; IPv4 in IPv6 is IPv4, and an address that is none is nobody's."""
    rows = [
        SimpleNamespace(action="generate_link", network="10.0.0.0/8"),
        SimpleNamespace(action="create_user", network=""),
    ]
    counting = counts(quiet=Quiet(rows))
    link = [
        lines.request("/admin/generate_link", remote_addr=ip) for ip in ("10.1.2.3", "::ffff:10.1.2.3", "9.9.9.9", "")
    ]
    counting.take([*link, lines.request("/admin/users"), lines.request("/admin/users/u", method="DELETE")])
    assert told(counting, "tocsin_auth_admin_actions_total") == {
        '{action="generate_link", quiet="yes"}': 2,
        '{action="generate_link", quiet="no"}': 2,
        '{action="create_user", quiet="yes"}': 1,
        '{action="delete_user", quiet="no"}': 1,
    }


def test_a_network_that_is_none_is_refused() -> None:
    """Before the daemon starts, with the key's name."""
    settings = {"kind": "auth_logs", "name": "auth", "source": {"file": "x"}}
    with pytest.raises(ValidationError, match=r"quiet_admin_actions\.0\.network"):
        SPEC.settings.model_validate({**settings, "quiet_admin_actions": [{"action": "*", "network": "10.0.0.300"}]})


def test_windows_survive_a_restart(lines: Lines) -> None:
    """What was seen before it counts after it, and a checkpoint of before there were sketches is taken over."""
    first, second = counts(), counts()
    first.take([lines.failed("192.0.2.1"), lines.granted("192.0.2.1")])
    first.take([lines.attempt(user, ip) for user in "abc" for ip in ("192.0.2.1", "192.0.2.2")])
    first.settle(AT, AT - TICK)
    saved = orjson.loads(orjson.dumps(first.to_json()))
    second.load(saved)
    assert set(second.samples(AT, None)) == set(first.samples(AT, None))
    old = {
        name: saved[name]
        for name in ("counters", "durations", "ips", "ips_in_clear", "factors", "audited", "last_event")
    }
    counts().load(old)
