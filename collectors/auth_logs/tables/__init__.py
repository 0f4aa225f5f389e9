"""Auth's own tables beside its log: who is signed in and how, who has a second factor, sessions that change hands.

Each table is asked about once in `interval`, in statements that end at query_deadline; a poll asks as many as it has
time for and the rest follow in the next. One that took too long is left in peace for ten intervals. What can't be seen
is blind by metric, with what to do: hidden rows, missing rights, a version without the column (shape.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from collectors.auth_logs import declarations as are
from collectors.auth_logs.database import Database, TooSlow
from collectors.auth_logs.samples import gauge
from collectors.auth_logs.settings import AuthLogsSettings
from collectors.auth_logs.sources.source import Trouble
from collectors.auth_logs.tables.handover import Handover
from collectors.auth_logs.tables.looks import LOOKS, Look, Value, admins_of
from collectors.auth_logs.tables.shape import Shape, probe
from tocsin.model import Blind, Metric, Sample, Seconds

_PATIENCE: Final = 10
"""Intervals that a table is left in peace after it took too long."""
_SHARE: Final = 0.5
"""Of a poll's time after which no further table is begun."""
_ROWS: Final = "rows"
_MOVES: Final = "moves"

Keep = Callable[[Sequence[bytes], datetime], Awaitable[None]]


class Tables:
    """What was answered last."""

    def __init__(self, settings: AuthLogsSettings, *, salt: bytes, saved: Any = None, keep: Keep | None = None) -> None:
        """`saved`: what `to_json` gave; raises ValueError, TypeError or KeyError for anything else. `keep` takes events
        in clear."""
        sql = settings.source.sql
        assert sql is not None
        self._tables = sql.tables
        self._when_slow = "raise source.sql.query_deadline, or leave it out of source.sql.tables.include"
        self._share = settings.time_limit * _SHARE
        self._database = Database(sql)
        self._keep = keep
        self._looks: dict[str, Look] = {name: LOOKS[name] for name in self._tables.include}
        if self._tables.admins and {"users", "mfa_factors"} <= self._looks.keys():
            self._looks["admins"] = admins_of(self._tables.admins, salt)
        self._handover = Handover(
            salt=salt, most=self._tables.sessions, servers=self._tables.servers, top_users=settings.top_users,
            idle=settings.idle, saved=saved,
        )  # fmt: skip
        self._with_moves = "sessions" in self._looks
        self._shape: Shape | None = None
        self._values: dict[str, Sequence[Value]] = {}
        self._why: dict[str, str] = {}
        """By look, why it is not known; of those that were not asked yet, too."""
        self._due: dict[str, datetime] = {}
        self._json: Any = saved

    @property
    def names(self) -> tuple[str, ...]:
        """What is asked for, in order."""
        return (*self._looks, *((_MOVES,) if self._with_moves else ()))

    async def look(self, at: datetime) -> None:
        """Ask what is due."""
        self._handover.begin_poll()
        due = sorted((name for name in self.names if at >= self._due.get(name, at)), key=lambda name: name in self._due)
        if not due:
            return
        began = asyncio.get_running_loop().time()
        try:
            shape = self._shape = await probe(self._database)
        except Trouble as error:
            self._shape = None
            self._why.update(dict.fromkeys((*self.names, _ROWS), str(error)))
            return
        self._why.pop(_ROWS, None)
        for name in due:
            await self._try(name, shape, at)
            if asyncio.get_running_loop().time() - began >= self._share:
                break
        for name in self.names:
            if name not in self._due:
                self._why.setdefault(name, "there was no time for it yet in a poll; raise the collector's interval")

    async def _try(self, name: str, shape: Shape, at: datetime) -> None:
        interval: Seconds = self._tables.interval
        try:
            if name == _MOVES:
                await self._look_at_sessions(shape, at)
            else:
                self._values[name] = await self._ask(self._looks[name], shape)
        except TooSlow as error:
            self._why[name] = str(error)
            self._due[name] = at + timedelta(seconds=interval * _PATIENCE)
        except Trouble as error:
            self._why[name] = str(error)
            self._due[name] = at
        else:
            self._why.pop(name, None)
            self._due[name] = at + timedelta(seconds=interval)

    async def _ask(self, look: Look, shape: Shape) -> Sequence[Value]:
        if why := look.trouble(shape):
            raise Trouble(why)
        rows = await self._database.ask(
            look.text(shape), look.params, of=f"auth.{look.table}", when_slow=self._when_slow
        )
        visible, values = look.read(rows)
        if visible is not None and (why := shape.hidden(look.table, visible, whole=look.whole)):
            raise Trouble(why)
        untold = look.untold(shape)
        return [value for value in values if value[0].name not in untold]

    async def _look_at_sessions(self, shape: Shape, at: datetime) -> None:
        if why := shape.trouble("sessions", self._handover.needs):
            raise Trouble(why)
        try:
            await self._handover.look(self._database, at, when_slow=self._when_slow)
        finally:
            self._json = None
            events = self._handover.events()
            if events and self._keep is not None:
                await self._keep([orjson.dumps(event) for event in events], at)

    def samples(self, at: datetime) -> Iterator[Sample | Blind]:
        """What is known, and what is not."""
        blind: dict[str, set[str]] = {}
        for name in (_ROWS, *self.names):
            if why := self._why.get(name):
                blind.setdefault(why, set()).update(metric.name for metric in self._metrics(name))
            elif name == _MOVES:
                yield from self._handover.samples(at)
            elif name == _ROWS:
                yield from self._sizes(at)
            else:
                for metric, labels, value in self._values.get(name, ()):
                    yield gauge(metric, labels, value, at)
                for metric_name, column in self._untold(name).items():
                    why = f"auth.{self._looks[name].table} has no column {column}: this Auth is too old to tell"
                    blind.setdefault(why, set()).add(metric_name)
        for why, metrics in blind.items():
            yield Blind(why=why, metrics=frozenset(metrics))

    def _metrics(self, name: str) -> Sequence[Metric]:
        match name:
            case "rows":
                return (are.TABLE_ROWS,)
            case "moves":
                return self._handover.metrics
            case _:
                return self._looks[name].metrics

    def _sizes(self, at: datetime) -> Iterator[Sample]:
        for table, found in (self._shape.tables if self._shape is not None else {}).items():
            if found.estimate >= 0:
                yield gauge(are.TABLE_ROWS, (table,), found.estimate, at)

    def _untold(self, name: str) -> dict[str, str]:
        return dict(self._looks[name].untold(self._shape)) if self._shape is not None else {}

    def to_json(self) -> Any:
        """What is kept across restarts: the sessions' places, and how many moved."""
        if self._json is None:
            self._json = self._handover.to_json()
        return self._json

    async def close(self) -> None:
        """Release the connection."""
        await self._database.close()
