"""The account: every pair of incident and destination ends somewhere, and what does not is found."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from tocsin.incidents import Budget
from tocsin.incidents.dependencies import Dependency
from tocsin.incidents.routes import Digest, Route
from tocsin.state.account import Account, balance
from tocsin.state.schema import decisions, notifications, receipts
from tocsin.testing.world import World, plan

ROUTES = (
    Route(name="pages", match={"severity": "P0|P1"}, notify=("pages",), group_by=("alertname", "service")),
    Route(name="notes", match={"severity": "P2|P3"}, notify=("notes",), digest=Digest(), group_by=("service",)),
)
WAITS = Dependency(match={"alertname": "Slow"}, depends_on={"alertname": "Down"}, equal=("service",), settle=0)


async def account(world: World) -> Account:
    found = await balance(world.state, world.clock.now())
    assert sum(found.outcomes.values()) == found.pairs
    return found


async def test_each_outcome_is_counted(tmp_path: Path) -> None:
    """Delivered, waiting, silenced, behind a parent, for the digest: and the sums agree."""
    world = await World.open(tmp_path / "state.db", replace(plan(*ROUTES), dependencies=(WAITS,)))
    await world.silences("service=quiet", seconds=3600)
    await world.fires("Down", service="api")
    await world.fires("Slow", "P1", service="api")
    await world.fires("Down", service="quiet")
    await world.fires("Old", "P3", service="api")
    await world.delivers()
    await world.fires("Down", service="web")
    found = await account(world)
    assert (dict(found.outcomes), found.balances) == (
        {"delivered": 1, "waiting": 1, "waits_for_parent": 1, "silenced_by": 1, "low_severity": 1},
        True,
    )
    assert found.text() == ("in 5 = out 5: 1 delivered, 1 low_severity, 1 silenced_by, 1 waiting, 1 waits_for_parent")
    await world.closes()


async def test_what_a_storm_summary_tells_is_folded(tmp_path: Path) -> None:
    """Past a budget of one, the rest."""
    base = plan(*ROUTES)
    tight = replace(base.destinations["pages"], budget=Budget(burst=1, every=60, reserve=0))
    world = await World.open(tmp_path / "state.db", replace(base, destinations={**base.destinations, "pages": tight}))
    for service in ("a", "b", "c"):
        await world.fires("Down", "P1", service=service)
    await world.delivers()
    found = await account(world)
    assert (dict(found.outcomes), found.balances) == ({"delivered": 1, "folded": 2}, True)
    await world.closes()


async def test_what_ended_long_ago_is_not_counted_again(tmp_path: Path) -> None:
    """A day after its end."""
    world = await World.open(tmp_path / "state.db", plan(*ROUTES))
    await world.fires("Down", service="api")
    await world.delivers()
    await world.recovers("Down")
    await world.delivers()
    counts = [(await account(world)).pairs, (await balance(world.state, world.at(86_500))).pairs]
    assert counts == [1, 0]
    await world.closes()


async def test_a_message_marked_as_said_that_never_was_is_found(tmp_path: Path) -> None:
    """Its row is marked as sent and there is no receipt: the mistake of marking before sending."""
    world = await World.open(tmp_path / "state.db", plan(*ROUTES))
    await world.fires("Down", service="api")
    async with world.state.writing() as connection:
        await connection.execute(sa.update(notifications).values(state="sent", ended_at=world.clock.now()))
    found = await account(world)
    assert (found.balances, found.lost) == (False, ((world.incident.id, "pages"),))
    assert found.text() == "in 1 ≠ out 0: 1 unaccounted"
    await world.closes()


async def test_lost_rows_are_found(tmp_path: Path) -> None:
    """Receipts that are gone, and decisions to say nothing that are gone."""
    world = await World.open(tmp_path / "state.db", plan(*ROUTES))
    await world.silences("service=quiet", seconds=3600)
    await world.fires("Down", service="api")
    await world.fires("Down", service="quiet")
    await world.delivers()
    await world.passes(timedelta(minutes=1).total_seconds())
    async with world.state.writing() as connection:
        await connection.execute(sa.delete(receipts))
        await connection.execute(sa.delete(decisions))
    found = await account(world)
    assert (found.balances, len(found.lost), dict(found.outcomes)) == (False, 2, {"unaccounted": 2})
    await world.closes()
