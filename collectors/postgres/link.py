"""The session and what is known of the server's state: when to try again, and who is told of a change."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from secrets import SystemRandom
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from collectors.postgres.session import Answer, Session
from collectors.postgres.settings import PostgresSettings
from collectors.postgres.state import State, Unreachable
from tocsin.model import Seconds

_CHEAP_TO_TRY: Final = frozenset(
    {State.DOWN, State.STARTING, State.SHUTTING_DOWN, State.HANGING, State.UNKNOWN, State.UP, State.IN_RECOVERY}
)
"""States in which every poll may try to connect: a refused connection costs a server that is down nothing, and users
wait for the news. Being refused for want of slots or of a password costs it a process and a log line each time.
"""
_QUICK_FIRST: Final = 0.1
_QUICK_CAP: Final = 1.0
_SLOW_FIRST: Final = 1.0
_SLOW_CAP: Final = 30.0
_JITTER: Final = SystemRandom()


def connection_string(settings: PostgresSettings, folder: Path, dbname: str | None) -> str:
    """The connection string, read anew each time so that a rotated password is taken up.

    Raises Unreachable that names what is missing. The string itself is in no message.
    """
    text, place = _read(settings, folder)
    try:
        conninfo_to_dict(text)
    except psycopg.ProgrammingError:
        # The parser's message would quote the string, and with it the password.
        raise Unreachable(
            State.UNKNOWN, f"{place} is no connection string; write postgresql://user:password@host:5432/database"
        ) from None
    return make_conninfo(text, **({"dbname": dbname} if dbname else {}))


def _read(settings: PostgresSettings, folder: Path) -> tuple[str, str]:
    if settings.dsn_env is not None:
        text = os.environ.get(settings.dsn_env, "").strip()
        if not text:
            raise Unreachable(
                State.UNKNOWN,
                f"the environment variable {settings.dsn_env} is not set (dsn_env of collector {settings.name}); "
                "set it to the connection string",
            )
        return text, f"the environment variable {settings.dsn_env}"
    if settings.dsn_file is not None:
        path = folder / settings.dsn_file
        try:
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            raise Unreachable(
                State.UNKNOWN, f"{path} (dsn_file of collector {settings.name}) can't be read: {reason}"
            ) from None
        return text, str(path)
    assert settings.dsn is not None
    return settings.dsn.get_secret_value(), f"the dsn of collector {settings.name}"


class Link:
    """A session that is opened anew when it is lost. `changed` is called whenever the state is another."""

    def __init__(
        self, settings: PostgresSettings, folder: Path, dbname: str | None, *, changed: Callable[[], None]
    ) -> None:
        self.session = Session(
            lambda: connection_string(settings, folder, dbname),
            query_deadline=settings.query_deadline,
            connect_deadline=settings.connect_deadline,
            application_name=settings.application_name,
            disturbed=self._disturbed,
        )
        self.state = State.UNKNOWN
        self.why = "the first login is under way"
        self.stirred = asyncio.Event()
        """Set when the idle socket stirred or the session was lost: look at once."""
        self.lost = asyncio.Event()
        """Set while there is no session and it is known why: nothing is gained by waiting."""
        self.spent: Counter[str] = Counter()
        """Microseconds of our own statements, by group."""
        self.calls: Counter[str] = Counter()
        self._changed = changed
        self._failures = 0
        self._attempts = 0
        self._next_attempt = 0.0
        self._opening = asyncio.Lock()

    def _disturbed(self) -> None:
        self.stirred.set()

    @property
    def is_open(self) -> bool:
        return self.session.is_open

    def wait_for_attempt(self) -> Seconds:
        """How long until `ensure` tries again by itself."""
        return max(self._next_attempt - asyncio.get_running_loop().time(), 0.0)

    def note(self, state: State, why: str = "") -> None:
        """The state as seen now."""
        before, self.state, self.why = self.state, state, why
        if not self.session.is_open:
            self.lost.set()
        if before is not state:
            self._changed()

    async def ensure(self, *, eager: bool = False) -> None:
        """A session, if one can be had. `eager` (a poll) tries before its time, where trying is cheap.

        Raises Unreachable with the state that the server is in.
        """
        attempt = self._attempts
        async with self._opening:
            if self.session.is_open:
                return
            if attempt != self._attempts:  # somebody else tried while we waited for our turn, and it failed
                raise Unreachable(self.state, self.why)
            self._attempts += 1
            await self._try(eager=eager)

    async def _try(self, *, eager: bool) -> None:
        if self.wait_for_attempt() > 0 and not (eager and self.state in _CHEAP_TO_TRY):
            raise Unreachable(self.state, self.why)
        try:
            await self.session.open()
        except Unreachable as error:
            self._put_off(error.state)
            self.note(error.state, str(error))
            raise
        self._failures = 0
        self._next_attempt = 0.0
        self.lost.clear()
        if not self.state.serves or self.state is State.AUTH_FAILURE:
            self.note(State.UP)

    def _put_off(self, state: State) -> None:
        quick = state in _CHEAP_TO_TRY
        first, cap = (_QUICK_FIRST, _QUICK_CAP) if quick else (_SLOW_FIRST, _SLOW_CAP)
        delay = min(cap, first * 2 ** min(self._failures, 16)) * _JITTER.uniform(0.5, 1.0)
        self._failures += 1
        self._next_attempt = asyncio.get_running_loop().time() + delay

    async def fetch(self, group: str, sql: str, params: Sequence[Any] = ()) -> Answer:
        """Ask, on behalf of a group. Raises psycopg.Error, or Unreachable; `state` is that of the server by then."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        self.calls[group] += 1
        try:
            return await self.session.fetch(sql, params)
        except Unreachable as error:
            await self._lost(error)
            raise
        finally:
            self.spent[group] += round((loop.time() - started) * 1_000_000)

    async def _lost(self, error: Unreachable) -> None:
        self._next_attempt = 0.0
        self._failures = 0
        self.stirred.set()
        if error.state is State.HANGING:
            # Say so at once; a login may hang for as long again.
            self.note(State.HANGING, str(error))
            return
        # How a session broke tells little (an operator may have ended it): a new login tells what the server is.
        try:
            await self.ensure(eager=True)
        except Unreachable:
            return

    async def close(self) -> None:
        await self.session.close()
