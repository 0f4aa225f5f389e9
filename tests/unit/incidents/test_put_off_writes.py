"""What was decided while the store took nothing, and is stored at once when it does again."""

from __future__ import annotations

from pathlib import Path

from tocsin.errors import StateError
from tocsin.incidents.routes import Route
from tocsin.testing.world import World, plan


async def test_a_first_message_that_came_too_late_takes_its_replies_along(tmp_path: Path) -> None:
    """It fired, ended, and fired again worse while the disk was full: one post tells it."""
    world = await World.open(tmp_path / "state.db")
    stored = world.state.commit

    async def full(*_: object) -> None:
        raise StateError("disk full")

    world.state.commit = full  # type: ignore[assignment,method-assign]
    await world.fires("ApiSlow", "P1", service="api")
    world.clock.jump(1)
    await world.recovers("ApiSlow", service="api")
    world.clock.jump(1)
    await world.fires("ApiDown", "P0", service="api")
    world.state.commit = stored  # type: ignore[method-assign]
    await world.passes(30)
    assert world.channel.actions().count("post") == 1
    await world.closes()


async def test_an_end_that_waits_for_a_destination_that_is_gone_is_told_to_its_heir(tmp_path: Path) -> None:
    """The end was queued and not delivered when the notifier was replaced: the next one tells it."""
    match = {"severity": "P0|P1"}
    before = plan(Route(name="pages", match=match, notify=("chat",), group_by=("service",)))
    after = plan(Route(name="pages", match=match, notify=("pages",), group_by=("service",)))
    world = await World.open(tmp_path / "state.db", before)
    await world.fires("ApiDown", service="api")
    await world.delivers()
    await world.recovers("ApiDown", service="api")
    await world.reloads(after)
    await world.delivers()
    assert [(said.action.value, said.state.value) for said in world.channel.said] == [("post", "resolved")]
    await world.closes()


async def test_a_destination_that_was_replaced_while_nobody_ran_leaves_its_debt_to_its_heir(tmp_path: Path) -> None:
    """Another configuration at the next start, or a death in the middle of a reload, forgets nobody."""
    match = {"severity": "P0|P1"}
    before = plan(Route(name="pages", match=match, notify=("chat",), group_by=("service",)))
    world = await World.open(tmp_path / "state.db", before)
    await world.fires("ApiDown", service="api")
    await world.delivers()
    await world.crashes()
    world.plan = plan(Route(name="pages", match=match, notify=("pages",), group_by=("service",)))
    await world.restarts()
    await world.recovers("ApiDown", service="api")
    await world.passes(600)
    assert [said.state.value for said in world.channel.said][-1] == "resolved"
    await world.closes()


async def test_an_heir_that_had_no_time_to_tell_that_it_fires_tells_the_end(tmp_path: Path) -> None:
    """Replaced and over before its first message left: whoever was told before believes that it fires."""
    match = {"severity": "P0|P1"}
    before = plan(Route(name="pages", match=match, notify=("chat",), group_by=("service",)))
    world = await World.open(tmp_path / "state.db", before)
    await world.fires("ApiSlow", "P1", service="api")
    await world.delivers()
    await world.reloads(plan(Route(name="pages", match=match, notify=("pages",), group_by=("service",))))
    await world.recovers("ApiSlow", service="api")
    await world.passes(600)
    assert [said.state.value for said in world.channel.said] == ["resolved"]
    await world.closes()
