"""The lease: one holder, by Postgres' clock, and a fence that an old holder's writes don't pass."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tocsin.cli.doctor import leader_lines
from tocsin.errors import Deposed, StateError
from tocsin.model import Alert, AlertState, Labels
from tocsin.state import Change, State
from tocsin.state.engine import connect, state_errors
from tocsin.state.lease import Fence, Leases, Me, read_lease
from tocsin.testing.clock import START as NOW

A, B = Me(name="a", address="http://a"), Me(name="b", address="http://b")
ALERT = Alert(rule="g;Down", labels=Labels(alertname="Down"), state=AlertState.FIRING, value=1.0, active_at=NOW)


@pytest.fixture
def url(migrated_url: str) -> str:
    return migrated_url


@pytest.fixture
async def state(url: str) -> AsyncIterator[State]:
    opened = await State.open(url)
    opened.fence = Fence(idle=1.0)
    yield opened
    await opened.close()


@pytest.fixture
async def leases(url: str, state: State) -> AsyncIterator[Leases]:
    made = Leases(connect(url, most=2), seconds=60)
    yield made
    await made.close()


async def ends(state: State) -> None:
    """The lease ends now, by Postgres' clock."""
    async with state.writing() as connection:
        await connection.execute(sa.text("UPDATE leadership SET until = 1"))


async def test_one_holder_until_the_lease_ends(state: State, leases: Leases) -> None:
    """A follower learns who leads; when the lease has ended the next epoch is its own, and the old one is told so."""
    first = await leases.beat(A, None)
    assert (first.epoch, first.took_over, first.others) == (1, True, 0)
    second = await leases.beat(B, None)
    assert (second.epoch, second.lease.holder, second.lease.address, second.others) == (None, "a", "http://a", 1)
    assert (await leases.beat(A, 1)).epoch == 1
    await ends(state)
    assert (await leases.beat(B, None)).epoch == 2
    late = await leases.beat(A, 1)
    assert (late.epoch, late.lease.holder) == (None, "b")


async def test_a_lease_that_ended_and_that_nobody_took_goes_on(state: State, leases: Leases) -> None:
    """Postgres was away for all of them: the leader stays the leader."""
    await leases.beat(A, None)
    await ends(state)
    again = await leases.beat(A, 1)
    assert (again.epoch, again.took_over, again.lease.remaining > 50) == (1, False, True)


async def test_of_two_that_want_it_at_once_one_has_it(state: State, leases: Leases) -> None:
    """The row is locked while it is taken."""
    beats = await asyncio.gather(leases.beat(A, None), leases.beat(B, None))
    assert sorted(beat.epoch or 0 for beat in beats) == [0, 1]


async def test_a_lease_that_is_given_back_is_free_at_once(state: State, leases: Leases) -> None:
    """Nobody waits for its end, and whoever left is no replica any more."""
    await leases.beat(A, None)
    await leases.give_back(A, 1)
    after = await leases.beat(B, None)
    assert (after.epoch, after.took_over, after.others) == (2, True, 0)
    async with state.reading() as connection:
        lease, replicas = await read_lease(connection)
    assert (lease.holder, [name for name, _, _ in replicas]) == ("b", ["b"])


async def test_an_old_epoch_writes_nothing(state: State, leases: Leases) -> None:
    """Neither a transition nor a claim nor a collector's place; what any replica may write goes through."""
    await leases.beat(A, None)
    assert state.fence is not None
    state.fence.epoch = 1
    await state.commit(Change(alerts=(ALERT,)))
    await ends(state)
    await leases.beat(B, None)
    with pytest.raises(Deposed, match="epoch 1 is over"):
        await state.commit(Change(alerts=(ALERT,)))
    with pytest.raises(Deposed):
        await state.take_over(NOW)
    await state.checkpoint("auth").save(b"mine")
    assert await state.checkpoint("auth").load() is None
    state.fence.epoch = None
    with pytest.raises(Deposed, match="does not lead"):
        await state.commit(Change(alerts=(ALERT,)))
    state.fence.epoch = 2
    await state.commit(Change(alerts=(ALERT,)))


async def test_a_renewal_does_not_wait_for_a_transaction_that_decides(state: State, leases: Leases) -> None:
    """A storm's long transaction must not cost its own leader the lease."""
    await leases.beat(A, None)
    assert state.fence is not None
    state.fence.epoch = 1
    async with state.deciding() as connection:
        await connection.execute(sa.text("SELECT 1"))
        assert (await leases.beat(A, 1)).epoch == 1


async def test_a_leader_that_stopped_within_a_transaction_holds_nobody_up(state: State, leases: Leases) -> None:
    """Postgres ends a transaction that says nothing, and what was in it is not there."""
    await leases.beat(A, None)
    assert state.fence is not None
    state.fence.epoch = 1

    async def stopped() -> None:
        async with state.deciding() as connection:
            await connection.execute(sa.text("INSERT INTO storms VALUES ('x', 'y', '{}')"))
            async with state._engine.begin() as other:
                await other.execute(sa.text("UPDATE leadership SET until = 1"))
            # Waits for the fence until Postgres has ended the transaction above.
            taken.append((await leases.beat(B, None)).epoch)
            await connection.execute(sa.text("SELECT 1"))

    taken: list[int | None] = []
    with pytest.raises(StateError):
        await stopped()
    assert taken == [2]
    async with state.reading() as connection:
        assert (await connection.execute(sa.text("SELECT count(*) FROM storms"))).scalar() == 0


async def test_a_leader_that_stopped_within_a_renewal_holds_nobody_up(url: str, state: State) -> None:
    """The lease's own row is locked then; found by bench/replicas.py."""
    leases = Leases(connect(url, most=2), seconds=1)
    try:
        await leases.beat(A, None)
        taken: list[int] = []
        with pytest.raises(StateError):
            await _stops_in_a_renewal(leases, taken)
        assert taken == [2]
    finally:
        await leases.close()


async def _stops_in_a_renewal(leases: Leases, taken: list[int]) -> None:
    with state_errors(leases._engine):
        async with leases._transaction() as connection:
            assert await leases._renewed(connection, A, 1)
            while (beat := await leases.beat(B, None)).epoch is None:
                await asyncio.sleep(max(0.01, beat.lease.remaining))
            taken.append(beat.epoch)
            await connection.execute(sa.text("SELECT 1"))


async def test_the_replicas_clocks_do_not_matter(state: State, leases: Leases) -> None:
    """No time of a replica's reaches the rows: neither the lease nor who was seen is off by its clock's error."""
    async with state.reading() as connection:
        at = (await connection.execute(sa.text("SELECT clock_timestamp()"))).scalar_one()
    beat = await leases.beat(A, None)
    assert abs(beat.lease.since - at) < timedelta(seconds=30)
    assert 0 < beat.lease.remaining <= 60
    statements: list[str] = []
    sa.event.listen(
        leases._engine.sync_engine, "before_cursor_execute", lambda *args: statements.append(f"{args[2]} {args[3]}")
    )
    await leases.beat(A, 1)
    await ends(state)
    await leases.beat(B, None)
    assert [each for each in statements if f"{at:%Y-}" in each or str(int(at.timestamp()))[:6] in each] == []


async def test_doctor_says_who_leads_and_who_else_there_is(state: State, leases: Leases) -> None:
    """Nothing while no daemon was ever started; none, with what to do, once the last one is gone."""
    assert await leader_lines(state) == []
    await leases.beat(A, None)
    await leases.beat(B, None)
    (line,) = await leader_lines(state)
    assert (line.part, line.ok, line.what.startswith("a at "), ", epoch 1; also seen: b (" in line.what) == (
        "leader", True, True, True,
    )  # fmt: skip
    await ends(state)
    (line,) = await leader_lines(state)
    assert (line.ok, line.what, "TocsinNoLeader" in line.mend) == (False, "none: nobody decides or sends", True)
