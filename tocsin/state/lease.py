"""The lease on one Postgres store: of several replicas one decides and sends, and nobody can do both after it lost it.

    leases = Leases(connect(url, patience=2), seconds=10)
    beat = await leases.beat(me, epoch=None)    # every few seconds, from each replica
    state.fence.epoch = beat.epoch              # from now on `state.deciding()` holds the fence

Time is Postgres' own clock, so that replicas' clocks may differ. Each take-over counts `epoch` up. Every transaction
that decides or sends first takes a share lock on the row of `fence` with its own epoch: a take-over, which changes that
row, waits for those that are under way, and those that come later find another epoch and write nothing (Deposed). So
a process that was stopped for an hour can't write, however late it wakes.

The lease is a row of its own. Were it the fence's, a renewal would wait behind a transaction of its own replica, and a
storm would cost the leader its lease.

A leader that is stopped within a transaction would hold its locks for as long. Postgres ends such a transaction after a
lease without a statement (`idle_in_transaction_session_timeout`, set in each that writes, those of the beats too). That
lets the next one in.
Source of the idea: M. Kleppmann, "How to do distributed locking" (fencing tokens).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tocsin.errors import Deposed
from tocsin.model import Seconds
from tocsin.state.engine import state_errors
from tocsin.state.schema import Instant, fence, leadership, replicas

SEEN: Final = 3
"""A replica that was not heard of for this many leases is gone."""
FORGOTTEN: Final = 100
"""And its row with it after so many."""

_ROW: Final = "leader"
_MICROSECONDS: Final = 1_000_000
_NOW: Final[sa.ColumnElement[Any]] = sa.cast(
    sa.func.extract("epoch", sa.func.clock_timestamp()) * _MICROSECONDS, sa.BigInteger
)
"""Postgres' clock as an Instant's number: the time of the statement, not of the transaction."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Me:
    """A replica, as others see it."""

    name: str
    address: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """Who leads. `remaining` is by Postgres' clock; 0 or less: nobody."""

    epoch: int
    holder: str
    address: str
    since: datetime
    remaining: Seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Beat:
    """What a replica learns of a beat."""

    lease: Lease
    """As it is after the beat."""
    epoch: int | None
    """Ours; None for a follower."""
    took_over: bool
    without: Seconds
    """With `took_over`: how long nobody had the lease."""
    others: int
    """Replicas beside this one."""


def _idle_limit(seconds: Seconds) -> sa.ColumnElement[str]:
    """Sets it, for the transaction: by a session's option a pooler would hand it on."""
    return sa.func.set_config("idle_in_transaction_session_timeout", str(max(1, round(seconds * 1000))), True)


class Fence:
    """The epoch that this process writes with."""

    def __init__(self, idle: Seconds) -> None:
        """`idle`: seconds after which Postgres ends a transaction of ours that says nothing."""
        self.epoch: int | None = None
        self._idle = idle

    async def bound(self, connection: AsyncConnection) -> None:
        """Have Postgres end this transaction when we stop within it."""
        await connection.execute(sa.select(_idle_limit(self._idle)))

    async def hold(self, connection: AsyncConnection) -> None:
        """Until the transaction ends nobody takes over. Raises Deposed, and nothing may be written then."""
        if self.epoch is None:
            raise Deposed("this replica does not lead")
        query = (
            sa.select(fence.c.epoch, _idle_limit(self._idle))
            .where(fence.c.name == _ROW, fence.c.epoch == self.epoch)
            .with_for_update(read=True)
        )
        if (await connection.execute(query)).first() is None:
            raise Deposed(f"another replica leads: epoch {self.epoch} is over")


class Leases:
    """The rows of one store. All methods raise StateError."""

    def __init__(self, engine: AsyncEngine, seconds: Seconds) -> None:
        """`engine` is for the beats alone: a beat must not wait for a connection that others keep busy."""
        self._engine = engine
        self._length = round(seconds * _MICROSECONDS)

    async def close(self) -> None:
        """Release the connection."""
        with state_errors(self._engine):
            await self._engine.dispose()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        """One that Postgres ends when we stop within it: a renewal locks the lease."""
        async with self._engine.begin() as connection:
            await connection.execute(sa.select(_idle_limit(self._length / _MICROSECONDS)))
            yield connection

    async def beat(self, me: Me, epoch: int | None) -> Beat:
        """Say that we live; renew the lease of `epoch`, or take one that has ended."""
        took: tuple[int, Seconds] | None = None
        with state_errors(self._engine):
            async with self._transaction() as connection:
                if epoch is not None and not await self._renewed(connection, me, epoch):
                    epoch = None
                others = await self._others(connection, me)
                found = await self._read(connection)
            if epoch is None and found.remaining <= 0 and (took := await self._take(me)) is not None:
                epoch = took[0]
            if took is not None:
                async with self._transaction() as connection:
                    found = await self._read(connection)
        return Beat(
            lease=found, epoch=epoch, took_over=took is not None, without=took[1] if took else 0.0, others=others
        )

    async def give_back(self, me: Me, epoch: int) -> None:
        """End our lease now: another replica need not wait for its end."""
        query = (
            sa.update(leadership)
            .where(leadership.c.name == _ROW, leadership.c.epoch == epoch, leadership.c.holder == me.name)
            .values(until=sa.type_coerce(_NOW, Instant), holder="", address="")
        )
        with state_errors(self._engine):
            async with self._transaction() as connection:
                await connection.execute(query)
                await connection.execute(sa.delete(replicas).where(replicas.c.name == me.name))

    async def _renewed(self, connection: AsyncConnection, me: Me, epoch: int) -> bool:
        """False when another has it by now. One that ended and that nobody took goes on."""
        query = (
            sa.update(leadership)
            .where(leadership.c.name == _ROW, leadership.c.epoch == epoch, leadership.c.holder == me.name)
            .values(until=sa.type_coerce(_NOW + self._length, Instant), address=me.address)
        )
        return (await connection.execute(query)).rowcount == 1

    async def _take(self, me: Me) -> tuple[int, Seconds] | None:
        """(the new epoch, how long nobody led), or None when another was faster."""
        ours = leadership.c.name == _ROW
        async with self._transaction() as connection:
            query = sa.select(
                leadership.c.epoch, (_NOW - sa.type_coerce(leadership.c.until, sa.BigInteger)).label("ago")
            )
            row = (await connection.execute(query.where(ours).with_for_update())).one()
            if row.ago < 0:
                return None
            epoch = int(row.epoch) + 1
            # Waits for the transactions that hold the fence now, and for no others.
            await connection.execute(sa.update(fence).where(fence.c.name == _ROW).values(epoch=epoch))
            # From now, not from before the wait.
            values = {
                "epoch": epoch, "holder": me.name, "address": me.address, "since": sa.type_coerce(_NOW, Instant),
                "until": sa.type_coerce(_NOW + self._length, Instant),
            }  # fmt: skip
            await connection.execute(sa.update(leadership).where(ours).values(**values))
        # The very first leader has followed nobody.
        return epoch, row.ago / _MICROSECONDS if epoch > 1 else 0.0

    async def _others(self, connection: AsyncConnection, me: Me) -> int:
        values = {"address": me.address, "seen_at": sa.type_coerce(_NOW, Instant)}
        here = postgresql.insert(replicas).values(name=me.name, **values)
        await connection.execute(here.on_conflict_do_update(index_elements=["name"], set_=values))
        away = (_NOW - sa.type_coerce(replicas.c.seen_at, sa.BigInteger)) / self._length
        await connection.execute(sa.delete(replicas).where(away > FORGOTTEN))
        query = sa.select(sa.func.count()).where(replicas.c.name != me.name, away < SEEN)
        return int((await connection.execute(query)).scalar_one())

    async def _read(self, connection: AsyncConnection) -> Lease:
        return (await read_lease(connection))[0]


async def read_lease(connection: AsyncConnection) -> tuple[Lease, tuple[tuple[str, str, Seconds], ...]]:
    """Who leads, and (name, address, seconds since it was heard of) of every replica, on Postgres."""
    left = sa.type_coerce(leadership.c.until, sa.BigInteger) - _NOW
    row = (await connection.execute(sa.select(leadership, left.label("left")).where(leadership.c.name == _ROW))).one()
    lease = Lease(
        epoch=row.epoch, holder=row.holder, address=row.address, since=row.since, remaining=row.left / _MICROSECONDS
    )
    seen = (_NOW - sa.type_coerce(replicas.c.seen_at, sa.BigInteger)).label("ago")
    query = sa.select(replicas.c.name, replicas.c.address, seen).order_by(replicas.c.name)
    found = (await connection.execute(query)).all()
    return lease, tuple((each.name, each.address, each.ago / _MICROSECONDS) for each in found)
