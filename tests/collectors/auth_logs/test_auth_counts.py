"""What is counted of events, and how many addresses get series of their own."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.auth_logs.counts import Counts
from collectors.auth_logs.top import OTHER, Top

AT = datetime(2026, 8, 20, 9, 0, tzinfo=UTC)
TICK = timedelta(seconds=10)
# A type of this folder's conftest, which a test can't import.
Lines = Any


def counts() -> Counts:
    return Counts(salt=b"salt", top_ips=3, idle=3600, show_ips=True)


def told(counting: Counts, name: str) -> dict[str, float]:
    counting.settle(AT, None)
    return {repr(s.labels): s.value for s in counting.samples(AT, None) if s.name == name and s.value}


def test_an_audit_event_that_two_lines_hold_counts_once(lines: Lines) -> None:
    """Since 2.177 it has a line of its own, and the request's line repeats it; before, only the request has it."""
    counting = counts()
    event = {"action": "user_deleted", "actor_username": "service_role"}
    request = lines.request("/admin/users/1", 200, method="DELETE", auth_event=event, request_id="r1")
    counting.take([lines.audit("user_deleted", "service_role", "r1"), request])
    counting.take([lines.request(auth_event={"action": "login"}, request_id="r2")])
    assert told(counting, "tocsin_auth_audit_events_total") == {
        '{action="user_deleted", actor="service_role"}': 1,
        '{action="login", actor="user"}': 1,
    }


def test_an_unknown_action_makes_no_new_series(lines: Lines) -> None:
    """Actions are a known list."""
    counting = counts()
    counting.take([lines.audit("drop_tables"), lines.audit("other_things")])
    assert told(counting, "tocsin_auth_audit_events_total") == {'{action="other", actor="user"}': 2}


def test_refused_and_broken_are_counted_by_code(lines: Lines) -> None:
    """429s by their code, every error code, every status by route."""
    counting = counts()
    counting.take([lines.request(status=429, error_code="over_request_rate_limit"), lines.request(status=429)])
    counting.take([lines.request("/recover", 500, error_code="unexpected_failure")])
    assert told(counting, "tocsin_auth_rate_limited_total") == {
        '{error_code="over_request_rate_limit"}': 1,
        '{error_code="none"}': 1,
    }
    assert told(counting, "tocsin_auth_errors_total") == {
        '{error_code="over_request_rate_limit"}': 1,
        '{error_code="unexpected_failure"}': 1,
    }
    assert told(counting, "tocsin_auth_requests_total") == {
        '{code="429", route="/token"}': 2,
        '{code="500", route="/recover"}': 1,
    }


def test_error_codes_are_bounded(lines: Lines) -> None:
    """A log that isn't GoTrue's makes at most a few hundred series of a metric, and loses no count."""
    counting = counts()
    counting.take([lines.request(status=400, error_code=f"code_{n}") for n in range(2000)])
    found = told(counting, "tocsin_auth_errors_total")
    assert (len(found) <= 301, sum(found.values())) == (True, 2000)


def test_durations_are_a_histogram(lines: Lines) -> None:
    """Buckets are cumulative, in seconds, by route."""
    counting = counts()
    counting.take([lines.request(duration=nanoseconds) for nanoseconds in (4_000_000, 90_000_000, 20_000_000_000)])
    counting.settle(AT, None)
    buckets = {
        sample.labels["le"]: sample.value
        for sample in counting.samples(AT, None)
        if sample.name == "tocsin_auth_request_duration_seconds_bucket"
    }
    assert (buckets["0.005"], buckets["0.1"], buckets["10.0"], buckets["+Inf"]) == (1, 2, 2, 3)


def test_the_newest_time_is_kept(lines: Lines) -> None:
    """By the lines' own clock; a time that can't be read changes nothing."""
    counting = counts()
    counting.take([lines.request(time="2026-08-20T09:12:44Z"), lines.request(time="yesterday")])
    counting.take([lines.request(time="2026-08-20T09:12:45.5+00:00")])
    assert counting.last_event == datetime(2026, 8, 20, 9, 12, 45, 500_000, tzinfo=UTC).timestamp()


def test_what_is_saved_is_what_was_counted(lines: Lines) -> None:
    """Counters, births and places survive as JSON."""
    first = counts()
    first.take([lines.failed("192.0.2.1"), lines.login(), lines.request(), b"broken"])
    first.settle(AT, AT - TICK)
    second = counts()
    second.load(orjson.loads(orjson.dumps(first.to_json())))
    assert set(second.samples(AT, None)) == set(first.samples(AT, None))


def test_a_burst_by_a_new_address_is_seen_whole(lines: Lines) -> None:
    """With all places taken by quieter ones, a burst gets a place from its first hit on."""
    counting = counts()
    counting.take([lines.failed(f"192.0.2.{n}") for n in range(10)])
    counting.settle(AT, None)
    counting.take([lines.failed("203.0.113.9")] * 20)
    counting.settle(AT + TICK, AT)
    found = {s.labels["ip"]: s.value for s in counting.samples(AT + TICK, None) if "failures_total" in s.name}
    assert found["203.0.113.9"] == 20


def test_quiet_places_are_freed_and_busy_ones_are_kept() -> None:
    """A place is freed after `idle`, and taken earlier only by more than twice the recent hits."""
    top = Top(2, idle=3600)
    top.take({"a": {(): 10}, "b": {(): 4}}, AT, None)
    top.take({"c": {(): 7}}, AT + TICK, None)
    assert {count.subject for count in top} == {"a", "b", OTHER}
    top.take({"c": {(): 1}}, AT + TICK, None)
    assert {count.subject for count in top} == {"a", "c", OTHER}
    top.take({}, AT + timedelta(hours=2), None)
    assert {count.subject for count in top} == {OTHER}


def test_old_hits_weigh_less() -> None:
    """Twenty hits an hour ago are no match for two now."""
    top = Top(1, idle=86_400)
    top.take({"old": {(): 20}}, AT, None)
    top.take({"new": {(): 2}}, AT + timedelta(hours=1), None)
    assert {count.subject for count in top} == {"new"}


def test_lowering_the_number_of_places_keeps_the_sum() -> None:
    """What had a place is counted on with the rest."""
    wide, narrow = Top(5, 3600), Top(1, 3600)
    wide.take({name: {("x",): 2} for name in "abcde"}, AT, None)
    narrow.load(wide.to_json())
    assert sorted((count.subject == OTHER, count.count) for count in narrow) == [(False, 2), (True, 8)]


_batches = st.lists(st.dictionaries(st.sampled_from("abcdefghij"), st.integers(1, 20), max_size=10), max_size=20)


@given(_batches)
def test_every_hit_is_in_one_series(batches: list[dict[str, int]]) -> None:
    """While nobody loses a place the sum over all series is the number of hits."""
    top = Top(10, 3600)
    for n, batch in enumerate(batches):
        top.take({subject: {(): hits} for subject, hits in batch.items()}, AT + n * TICK, None)
    assert sum(count.count for count in top) == sum(hits for batch in batches for hits in batch.values())


@given(_batches)
def test_places_are_bounded_and_counts_only_rise(batches: list[dict[str, int]]) -> None:
    """Never more series than places and one; whoever keeps a place never counts down."""
    top, before = Top(3, 3600), Counter[str]()
    for n, batch in enumerate(batches):
        top.take({subject: {(): hits} for subject, hits in batch.items()}, AT + n * TICK, None)
        now = Counter({count.subject: count.count for count in top})
        assert len(now) <= 4
        assert all(now[subject] >= before[subject] for subject in now.keys() - batch.keys())
        assert now[OTHER] >= before[OTHER]
        before = now


@given(_batches)
def test_the_sum_of_increases_is_the_number_of_hits(batches: list[dict[str, int]]) -> None:
    """Also while addresses take each other's places: whoever loses one has what it did in that poll in `other`."""
    top, before = Top(2, 3600), Counter[str]()
    for n, batch in enumerate(batches):
        top.take({subject: {(): hits} for subject, hits in batch.items()}, AT + n * TICK, None)
        now = Counter({count.subject: count.count for count in top})
        assert sum(now[subject] - before[subject] for subject in now) == sum(batch.values())
        before = now


@pytest.mark.parametrize("address", ["", "not an address", "999.1.1.1", "\x00"])
def test_an_address_that_is_none_is_unknown(lines: Lines, address: str) -> None:
    """Whatever a proxy put there becomes one series."""
    counting = counts()
    counting.take([lines.failed(address)])
    assert list(told(counting, "tocsin_auth_failures_total")) == [
        '{flow="sign_in", ip="unknown", reason="invalid_credentials"}'
    ]
