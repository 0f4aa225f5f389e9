"""A route's hours: what fires outside of them waits, and its end is told at any time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tocsin.incidents.hours import Cron, Hours
from tocsin.incidents.routes import Route, Router
from tocsin.testing.clock import VirtualClock
from tocsin.testing.world import World, plan

OFFICE = Hours(cron=Cron.parse("0 9 * * mon-fri"), lasts=9 * 3600, zone="Europe/Berlin")
FRIDAY_17_50 = datetime(2026, 1, 9, 16, 50, tzinfo=UTC)


def office_route() -> Route:
    return Route(name="tickets", match={"severity": "P2"}, notify=("pages",), group_by=("service",), hours=(OFFICE,))


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-01-09T16:59:59", None),  # Friday, 17:59:59 in Berlin
        ("2026-01-09T17:00:00", "2026-01-12T08:00:00"),  # over for the week
        ("2026-03-27T17:30:00", "2026-03-30T07:00:00"),  # the clocks change in between
    ],
)
def test_it_is_closed_until_its_hours_begin(now: str, until: str | None) -> None:
    """By the walls of its zone, across weekends and clock changes."""
    expected = None if until is None else datetime.fromisoformat(until).replace(tzinfo=UTC)
    assert office_route().closed_until(datetime.fromisoformat(now).replace(tzinfo=UTC)) == expected


async def test_what_fires_at_night_is_told_in_the_morning(tmp_path: Path) -> None:
    """It is an incident at once, says why nobody is told, and is told when the hours begin, if it still fires."""
    clock = VirtualClock(datetime(2026, 1, 7, 22, 0, tzinfo=UTC))
    world = await World.open(tmp_path / "state.db", plan(office_route()), clock=clock)
    await world.fires("DiskFills", "P2", service="api")
    await world.fires("DiskFills", "P2", service="web")
    await world.passes(3600)
    held = world.book.files[world.incidents[0].id].last["pages"]
    assert (world.channel.said, held.because) == ([], "outside of the hours of route tickets until 08 Jan 09:00 CET")
    await world.recovers("DiskFills", service="web")
    await world.passes(9 * 3600 + 60, every=60)
    assert [(said.action.value, said.at.isoformat()) for said in world.channel.said] == [
        ("post", "2026-01-08T08:00:00+00:00")
    ]
    await world.closes()


async def test_the_end_is_told_outside_of_the_hours(tmp_path: Path) -> None:
    """Resolution debt has no hours."""
    world = await World.open(tmp_path / "state.db", plan(office_route()), clock=VirtualClock(FRIDAY_17_50))
    await world.fires("DiskFills", "P2", service="api")
    await world.passes(3600)
    await world.recovers("DiskFills", service="api")
    await world.delivers()
    assert world.channel.actions() == ["post", "resolve", "edit"]
    await world.closes()


def test_nested_routes_inherit_hours_and_may_have_their_own() -> None:
    """`()` is at any time."""
    nested = (Route(match={"service": "api"}), Route(match={"service": "web"}, hours=()))
    router = Router([Route(match={"severity": "P2"}, notify=("pages",), hours=(OFFICE,), routes=nested)])
    (parent,) = router.routes
    assert [route.hours for route in parent.routes] == [(OFFICE,), ()]


def test_the_explanation_names_the_hours() -> None:
    """`tocsin check --route` says when the route tells."""
    (step,) = Router([office_route()]).explain({"severity": "P2"})
    assert step.why == "matches; tells pages, during 0 9 * * mon-fri (Europe/Berlin) for 9h, grouped by service"
