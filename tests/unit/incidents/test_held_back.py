"""What holds a message back, from transition to channel: windows, dependencies, silences that end one by one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from tocsin.incidents import Plan
from tocsin.incidents.dependencies import Dependency
from tocsin.incidents.hours import Cron
from tocsin.incidents.routes import Route
from tocsin.incidents.windows import Window
from tocsin.model import Reason
from tocsin.testing.clock import START
from tocsin.testing.world import World, plan

EACH = plan(Route(name="pages", notify=("pages",), group_by=("alertname", "service")))
WAITS = Dependency(match={"alertname": "ApiDown"}, depends_on={"alertname": "DbDown"}, equal=("service",), settle=60)
SOON = START + timedelta(minutes=1)
WINDOW = Window(
    name="export", cron=Cron.parse(f"{SOON.minute} {SOON.hour} * * *"), lasts=600, match={"alertname": "ApiDown"},
    why="the export",
)  # fmt: skip
DEPENDING = replace(EACH, dependencies=(WAITS,))
WINDOWED = replace(EACH, windows=(WINDOW,))


async def opened(folder: Path, with_: Plan = DEPENDING) -> World:
    world = await World.open(folder / "state.db", with_)
    await world.passes(120)  # the start is over
    return world


def told(world: World) -> list[tuple[str, str]]:
    """What rang: the action, and the name of the alert."""
    names = {incident.id: incident.group["alertname"] for incident in world.incidents}
    return [(said.action.value, names[said.incident]) for said in world.channel.said if said.action.value != "edit"]


def reasons(world: World) -> list[Reason]:
    return [file.last["pages"].reason for file in world.book.files.values() if "pages" in file.last]


async def test_what_its_parent_explains_is_not_told(tmp_path: Path) -> None:
    """The decision says so; another service's is told."""
    world = await opened(tmp_path)
    await world.fires("DbDown", service="api")
    await world.fires("ApiDown", service="api")
    await world.fires("ApiDown", service="web")
    await world.delivers()
    assert told(world) == [("post", "DbDown"), ("post", "ApiDown")]
    assert reasons(world) == [Reason.NEW_INCIDENT, Reason.WAITS_FOR_PARENT, Reason.NEW_INCIDENT]
    await world.closes()


async def test_a_child_pages_after_its_parents_end_only_if_it_stays(tmp_path: Path) -> None:
    """Its rule gets `settle` to look again: one that ends meanwhile is never told."""
    world = await opened(tmp_path)
    for service in ("api", "web"):
        await world.fires("DbDown", service=service)
        await world.fires("ApiDown", service=service)
    await world.recovers("DbDown")
    await world.passes(30)
    await world.recovers("ApiDown", service="web")
    await world.passes(29)
    assert ("post", "ApiDown") not in told(world)
    await world.passes(2)
    assert [each for each in told(world) if each[1] == "ApiDown"] == [("post", "ApiDown")]
    await world.closes()


async def test_the_end_of_what_was_told_is_told_whatever_its_parent_does(tmp_path: Path) -> None:
    """Only a first message waits."""
    world = await opened(tmp_path)
    await world.fires("ApiDown", service="api")
    await world.delivers()
    await world.fires("DbDown", service="api")
    await world.recovers("ApiDown", service="api")
    await world.delivers()
    assert told(world) == [("post", "ApiDown"), ("post", "DbDown"), ("resolve", "ApiDown")]
    await world.closes()


async def test_a_restart_does_not_release_what_waits(tmp_path: Path) -> None:
    """The parent is restored before anything is decided; and the parent of a child that is new has time to come."""
    world = await opened(tmp_path)
    await world.fires("DbDown", service="api")
    await world.fires("ApiDown", service="api")
    await world.delivers()
    await world.crashes()
    await world.restarts()
    await world.fires("ApiDown", service="web")
    await world.passes(30)
    await world.fires("DbDown", service="web")
    await world.passes(300)
    assert told(world) == [("post", "DbDown"), ("post", "DbDown")]
    await world.closes()


async def test_a_lesser_parent_hides_no_page(tmp_path: Path) -> None:
    """A P0 that waited for a P2 would wait for its digest."""
    world = await opened(tmp_path)
    await world.fires("DbDown", "P2", service="api")
    await world.fires("ApiDown", "P0", service="api")
    await world.delivers()
    assert sorted(told(world)) == [("post", "ApiDown"), ("post", "DbDown")]
    await world.closes()


async def test_alerts_that_wait_for_each_other_are_told(tmp_path: Path) -> None:
    """A circle in the configuration silences nobody."""
    back = Dependency(match={"alertname": "DbDown"}, depends_on={"alertname": "ApiDown"}, equal=("service",))
    world = await opened(tmp_path, replace(DEPENDING, dependencies=(WAITS, back)))
    await world.fires("ApiDown", service="api")
    await world.fires("DbDown", service="api")
    await world.passes(120)
    assert told(world) == [("post", "ApiDown"), ("post", "DbDown")]
    await world.closes()


async def test_a_chain_is_told_by_its_root(tmp_path: Path) -> None:
    """The disk explains the database, which explains the API."""
    above = Dependency(match={"alertname": "DbDown"}, depends_on={"alertname": "DiskFull"}, equal=("service",))
    world = await opened(tmp_path, replace(DEPENDING, dependencies=(WAITS, above)))
    await world.fires("DiskFull", service="api")
    await world.fires("DbDown", service="api")
    await world.fires("ApiDown", service="api")
    await world.delivers()
    assert told(world) == [("post", "DiskFull")]
    await world.closes()


async def test_a_parent_that_nobody_is_told_of_explains_nothing(tmp_path: Path) -> None:
    """Or a route to nobody would hide its children."""
    routes = (
        Route(name="kept", match={"alertname": "DbDown"}, notify=(), group_by=("alertname", "service")),
        Route(name="pages", notify=("pages",), group_by=("alertname", "service")),
    )
    world = await opened(tmp_path, replace(plan(*routes), dependencies=(WAITS,)))
    await world.fires("DbDown", service="api")
    await world.fires("ApiDown", service="api")
    await world.delivers()
    assert told(world) == [("post", "ApiDown")]
    await world.closes()


async def test_in_a_window_nothing_is_told_and_what_stays_is_told_after_it(tmp_path: Path) -> None:
    """At the minute of its end, by the clock alone."""
    world = await opened(tmp_path, WINDOWED)
    await world.fires("ApiDown", service="api")
    await world.passes(300)
    assert (told(world), reasons(world)) == ([], [Reason.IN_WINDOW])
    await world.passes(300)
    assert told(world) == [("post", "ApiDown")]
    await world.closes()


async def test_the_end_of_what_was_told_is_told_in_a_window(tmp_path: Path) -> None:
    """A window hides beginnings, never an end."""
    world = await World.open(tmp_path / "state.db", WINDOWED)
    await world.fires("ApiDown", service="api")
    await world.passes(120)
    await world.recovers("ApiDown", service="api")
    await world.delivers()
    assert told(world) == [("post", "ApiDown"), ("resolve", "ApiDown")]
    await world.closes()


async def test_when_the_first_of_two_silences_ends_what_it_hid_is_told(tmp_path: Path) -> None:
    """Not when the last one does."""
    world = await opened(tmp_path, plan(Route(name="pages", notify=("pages",), group_by=("service",))))
    await world.silences("pod=a", seconds=7200)
    await world.silences("pod=b", seconds=600)
    await world.fires("ApiDown", service="api", pod="a")
    await world.fires("ApiDown", "P1", service="api", pod="b")
    await world.passes(590)
    assert world.channel.said == []
    await world.passes(20)
    assert world.channel.actions() == ["post", "digest"]  # and what the silence hid
    await world.closes()


async def test_a_silence_that_hid_the_worst_member_ends_aloud(tmp_path: Path) -> None:
    """The others were told meanwhile, less severe."""
    world = await opened(tmp_path, plan(Route(name="pages", notify=("pages",), group_by=("service",))))
    await world.silences("pod=a", seconds=600)
    await world.fires("ApiDown", "P0", service="api", pod="a")
    await world.fires("ApiDown", "P1", service="api", pod="b")
    await world.passes(590)
    assert world.channel.actions() == ["post"]
    await world.passes(20)
    assert "broadcast" in world.channel.actions()
    await world.closes()
