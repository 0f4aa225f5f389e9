"""Who tries too often waits, and nobody is locked out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tocsin.web.login.throttle import Throttle, address_key

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_few_at_once_then_one_in_a_while() -> None:
    """The wait that is told is the wait that helps."""
    throttle = Throttle(burst=3, every=30.0)
    waits = [throttle.take("ana", NOW) for _ in range(4)]
    late = throttle.take("ana", NOW + timedelta(seconds=30))
    assert (waits, late, throttle.take("bob", NOW)) == ([0.0, 0.0, 0.0, 30.0], 0.0, 0.0)


def test_memory_is_bounded() -> None:
    """However many names are tried."""
    throttle = Throttle(burst=1, every=30.0, most_keys=10)
    for number in range(1000):
        throttle.take(str(number), NOW)
    assert len(throttle) == 10


def test_a_clock_that_was_set_back_locks_nobody_out() -> None:
    """At most the whole burst is waited for."""
    throttle = Throttle(burst=3, every=30.0)
    throttle.take("ana", NOW)
    assert throttle.take("ana", NOW - timedelta(days=365)) <= 30.0


@pytest.mark.parametrize(
    ("client", "key"),
    [("203.0.113.7", "203.0.113.7"), ("2001:db8::1", "2001:db8::/64"), ("2001:db8::ffff:1", "2001:db8::/64"),
     ("::ffff:203.0.113.7", "203.0.113.7"), ("testclient", "testclient")],
)  # fmt: skip
def test_an_ipv6_network_is_one_client(client: str, key: str) -> None:
    """One customer has a /64 whole."""
    assert address_key(client) == key
