"""One message a second and channel, the important ones first."""

from __future__ import annotations

import asyncio

import pytest

from notifiers.slack.pace import Pace, Rank
from tocsin.errors import Throttled
from tocsin.testing.clock import VirtualClock

POST_P0, POST_P1, EDIT_P0 = (0, 0), (0, 1), (1, 0)


class Sender:
    """Notes who had a turn, and when."""

    def __init__(self, spacing: float = 1.0) -> None:
        self.clock = VirtualClock()
        self.pace = Pace(self.clock, spacing)
        self.turns: list[tuple[str, float]] = []
        self.tasks: list[asyncio.Task[None]] = []

    def asks(self, name: str, rank: Rank = POST_P0, method: str = "chat.postMessage", patience: float = 60.0) -> None:
        async def ask() -> None:
            await self.pace.turn(method, rank, patience)
            self.turns.append((name, round(self.clock.monotonic(), 1)))

        self.tasks.append(asyncio.create_task(ask()))


async def test_the_first_message_does_not_wait() -> None:
    """A page goes out at once."""
    sender = Sender()
    sender.asks("a")
    await sender.clock.advance(0)
    assert sender.turns == [("a", 0.0)]


async def test_messages_are_spaced() -> None:
    """By a second each."""
    sender = Sender()
    for name in "abc":
        sender.asks(name)
    await sender.clock.advance(10)
    assert sender.turns == [("a", 0.0), ("b", 1.0), ("c", 2.0)]


async def test_posts_go_before_edits_and_p0_before_p1() -> None:
    """Whatever the order they came in."""
    sender = Sender()
    sender.asks("first")
    await sender.clock.advance(0)
    sender.asks("edit", EDIT_P0, "chat.update")
    sender.asks("p1", POST_P1)
    sender.asks("p0", POST_P0)
    await sender.clock.advance(10)
    assert [name for name, _ in sender.turns] == ["first", "p0", "p1", "edit"]


async def test_a_held_method_waits_and_lets_others_pass() -> None:
    """An edit that Slack throttles must not stand in the way of a post."""
    sender = Sender()
    sender.pace.hold("chat.postMessage", 5)
    sender.asks("post", POST_P0)
    sender.asks("edit", EDIT_P0, "chat.update")
    await sender.clock.advance(10)
    assert sender.turns == [("edit", 0.0), ("post", 5.0)]


async def test_who_would_wait_too_long_is_told_when_to_come_back() -> None:
    """The delivery stores that time; nothing waits in memory beyond its deadline."""
    sender = Sender()
    sender.pace.hold("chat.postMessage", 30)
    with pytest.raises(Throttled) as caught:
        await sender.pace.turn("chat.postMessage", POST_P0, 10)
    assert caught.value.retry_after == 30.0


async def test_who_gave_up_does_not_hold_up_the_rest() -> None:
    """A cancelled send leaves the queue."""
    sender = Sender()
    for name in "abc":
        sender.asks(name)
    await sender.clock.advance(0)
    sender.tasks[1].cancel()
    await sender.clock.advance(10)
    assert sender.turns == [("a", 0.0), ("c", 1.0)]


async def test_a_wall_clock_that_jumps_changes_nothing() -> None:
    """Turns are counted on the monotonic clock."""
    sender = Sender()
    sender.asks("a")
    await sender.clock.advance(0)
    sender.clock.jump(-3600)
    sender.asks("b")
    await sender.clock.advance(1)
    assert sender.turns == [("a", 0.0), ("b", 1.0)]
