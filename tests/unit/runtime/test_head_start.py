"""A page leaves before the rest of its storm is looked at, and nothing waits long for it."""

from __future__ import annotations

import asyncio

from tocsin.incidents import Book, Destination, Plan, react
from tocsin.incidents.routes import Route, Router
from tocsin.model import Alert, AlertState, Labels, Transition
from tocsin.runtime.head_start import EVERY, LONGEST, HeadStart
from tocsin.testing.clock import START as NOW
from tocsin.testing.clock import VirtualClock


def brought(head_start: HeadStart, severity: str) -> None:
    """What an alert of that severity has queued."""
    plan = Plan(
        router=Router((), fallback=Route(notify=("chat",))), destinations={"chat": Destination(name="chat", edits=True)}
    )
    alert = Alert(
        rule="g;Down", labels=Labels(alertname="Down", severity=severity), state=AlertState.FIRING, value=1,
        active_at=NOW, fired_at=NOW,
    )  # fmt: skip
    head_start.queued(react(Book(plan=plan), [Transition(alert=alert, before=None, at=NOW, sampled_at=NOW)], NOW).calls)


async def waits(head_start: HeadStart, clock: VirtualClock, *, for_: float = 0.0) -> bool:
    """Whether what comes in now is still held back after a while."""

    async def received() -> None:
        async with head_start.behind(asyncio.Lock()):
            pass

    task = asyncio.ensure_future(received())
    await clock.advance(for_)
    try:
        return not task.done()
    finally:
        task.cancel()


async def test_what_comes_in_waits_until_the_page_has_gone() -> None:
    """P0's first message is on its way before the next hundreds of alerts take the loop."""
    clock = VirtualClock()
    head_start = HeadStart(clock)
    before = await waits(head_start, clock)
    brought(head_start, "P0")
    during = await waits(head_start, clock)
    head_start.page_gone()
    assert (before, during, await waits(head_start, clock)) == (False, True, False)


async def test_of_several_that_wait_for_the_lock_all_but_the_one_that_brought_the_page_wait() -> None:
    """They were in line before there was a page."""
    clock, lock, order = VirtualClock(), asyncio.Lock(), []
    head_start = HeadStart(clock)

    async def received(name: str) -> None:
        async with head_start.behind(lock):
            order.append(name)
            if name == "first":
                await asyncio.sleep(0)
                brought(head_start, "P1")

    tasks = [asyncio.ensure_future(received(name)) for name in ("first", "second", "third")]
    await clock.advance(0)
    order.append("page")
    head_start.page_gone()
    await asyncio.gather(*tasks)
    assert order == ["first", "page", "second", "third"]


async def test_a_slow_destination_and_a_stream_of_pages_hold_up_little() -> None:
    """Half a second at most, once in five; and nothing waits for a P2."""
    clock = VirtualClock()
    head_start = HeadStart(clock)
    brought(head_start, "P0")
    long = await waits(head_start, clock, for_=LONGEST)
    brought(head_start, "P0")
    again = await waits(head_start, clock)
    await clock.advance(EVERY)
    brought(head_start, "P2")
    calm = await waits(head_start, clock)
    brought(head_start, "P0")
    assert (long, again, calm, await waits(head_start, clock)) == (False, False, False, True)
