"""Delivery's loops: they sleep until something is due, wake when rows come, drain when stopped, and outlive trouble."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tocsin.errors import Refused, StateError, Throttled, Unavailable
from tocsin.incidents.routes import Route
from tocsin.testing.destination import HANGS
from tocsin.testing.world import World, plan

BOTH = Route(name="both", notify=("pages", "mail"), group_by=("service",))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """The loops run."""
    world = await World.open(tmp_path / "state.db", plan(failover={"pages": "backup"}))
    world.delivery.start(world.endpoints())
    yield world
    await world.delivery.stop(drain=0)
    await world.closes()


async def woken(world: World) -> None:
    """Rows were queued."""
    world.delivery.wake()
    await world.clock.advance(0)


async def test_a_wake_up_sends_at_once(world: World) -> None:
    """No time passes."""
    await world.clock.advance(60)
    await world.fires("ApiDown", service="api")
    await woken(world)
    assert (world.channel.actions(), world.channel.said[0].at) == (["post"], world.at(0))


async def test_what_was_queued_before_the_start_is_sent_without_a_wake_up(tmp_path: Path) -> None:
    """A restart goes on by itself."""
    world = await World.open(tmp_path / "state.db")
    await world.fires("ApiDown", service="api")
    world.delivery.start(world.endpoints())
    await world.clock.advance(0)
    assert world.channel.actions() == ["post"]
    await world.delivery.stop()
    await world.closes()


async def test_what_waits_for_its_time_is_sent_then(world: World) -> None:
    """An edit of a P2 ten seconds after its post; nobody wakes the loop."""
    await world.fires("DiskFills", severity="P2", service="api", pod="a")
    await woken(world)
    await world.fires("DiskFills", severity="P2", service="api", pod="b")
    await woken(world)
    await world.clock.advance(9)
    assert world.channel.actions() == ["post"]
    await world.clock.advance(1)
    assert world.channel.actions() == ["post", "edit"]


async def test_a_throttled_destination_is_served_again_when_it_may_be(world: World) -> None:
    """By the loop alone, and not a moment before."""
    world.notifier.faults.append(Throttled("slow down", retry_after=30))
    await world.fires("ApiSlow", severity="P1", service="api")
    await woken(world)
    await world.clock.advance(29)
    assert world.channel.actions() == []
    await world.clock.advance(1)
    assert world.channel.actions() == ["post"]


async def test_a_page_without_a_receipt_is_told_elsewhere_by_the_watch(world: World) -> None:
    """After 20 s, while the first destination hangs."""
    world.notifier.fault_of = lambda _: HANGS
    await world.fires("ApiDown", service="api")
    await woken(world)
    await world.clock.advance(19)
    assert world.channels["backup"].actions() == []
    await world.clock.advance(2)
    assert world.channels["backup"].actions() == ["post"]


async def test_one_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    """Each destination has a loop of its own."""
    world = await World.open(tmp_path / "state.db", plan(BOTH))
    world.notifier.fault_of = lambda _: HANGS
    world.delivery.start(world.endpoints())
    for service in ("api", "web", "db"):
        await world.fires("Down", service=service)
    await woken(world)
    assert (world.channels["mail"].actions(), world.channel.actions()) == (["post"] * 3, [])
    await world.delivery.stop(drain=0)
    await world.closes()


async def test_a_stop_sends_what_is_due(tmp_path: Path) -> None:
    """SIGTERM loses nothing, and waits for nothing that is not due."""
    world = await World.open(tmp_path / "state.db")
    world.delivery.start(world.endpoints())
    await world.clock.advance(0)
    for service in ("api", "web", "db"):
        await world.fires("Down", service=service)
    await world.fires("Down", service="db", pod="b")
    await world.delivery.stop()
    (left,) = await world.state.outbox.waiting(world.clock.now())
    assert (world.channel.actions(), left.count) == (["post"] * 3, 1)
    await world.closes()


async def test_a_stop_ends_in_time_and_leaves_in_doubt_what_was_under_way(tmp_path: Path) -> None:
    """The next start reads it back."""
    world = await World.open(tmp_path / "state.db")
    world.notifier.fault_of = lambda _: HANGS
    world.delivery.start(world.endpoints())
    await world.fires("ApiDown", service="api")
    await woken(world)
    stop = asyncio.ensure_future(world.delivery.stop(drain=5))
    await world.clock.advance(5)
    await stop
    await world.crashes()
    world.notifier.fault_of = lambda _: None
    await world.restarts()
    await world.delivers()
    assert (world.channel.actions(), len(world.notifier.asked)) == (["post"], 1)
    await world.closes()


async def test_the_loops_outlive_a_store_that_fails(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """They try again each second, and say that it is down."""
    claim, broken = world.state.outbox.claim_due, [True]

    async def failing(*args: object, **named: object) -> object:
        if broken:
            raise StateError("disk full")
        return await claim(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(world.state.outbox, "claim_due", failing)
    await world.fires("ApiSlow", severity="P1", service="api")
    await woken(world)
    await world.clock.advance(3)
    assert (world.channel.actions(), world.telemetry.state_ok._value.get()) == ([], 0)
    broken.clear()
    await world.clock.advance(1)
    assert (world.channel.actions(), world.telemetry.state_ok._value.get()) == (["post"], 1)


async def test_the_loops_outlive_a_defect(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is, the next second is another."""
    claim, broken = world.state.outbox.claim_due, [True]

    async def failing(*args: object, **named: object) -> object:
        if broken:
            raise ZeroDivisionError
        return await claim(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(world.state.outbox, "claim_due", failing)
    await world.fires("ApiSlow", severity="P1", service="api")
    await woken(world)
    broken.clear()
    await world.clock.advance(1)
    assert world.channel.actions() == ["post"]


async def test_a_reload_tries_at_once_what_was_refused(world: World) -> None:
    """The token was mended: nobody waits for five minutes."""
    world.plan = plan()
    await world.delivery.replace(world.endpoints())
    world.notifier.faults.append(Refused("invalid_auth"))
    await world.fires("ApiDown", service="api")
    await woken(world)
    assert world.channel.actions() == []
    await world.delivery.replace(world.endpoints())
    await world.clock.advance(0)
    assert world.channel.actions() == ["post"]


async def test_a_reload_begins_and_ends_the_loops_of_destinations(world: World) -> None:
    """A new one is served; what waits for one that is gone waits on, in case it comes back."""
    world.notifier.faults.append(Unavailable("503"))
    await world.fires("ApiSlow", severity="P1", service="api")
    await woken(world)
    endpoints = world.endpoints()
    await world.delivery.replace([replace(each, failover=None) for each in endpoints if each.name != "pages"])
    await world.clock.advance(60)
    assert world.channel.actions() == []
    await world.delivery.replace(endpoints)
    await world.clock.advance(0)
    assert world.channel.actions() == ["post"]


async def test_a_first_refusal_rises_from_a_zero_that_was_told(world: World) -> None:
    """increase() sees nothing of a counter that begins at one: the alert on refused messages would miss the first."""
    told = [
        world.telemetry.registry.get_sample_value("tocsin_deliveries_total", {"notifier": "pages", "outcome": outcome})
        for outcome in ("refused", "dead")
    ]
    assert told == [0.0, 0.0]
