"""Connections: SQLite by default, or Postgres, one code path above this module.

SQLite runs in WAL mode with synchronous=FULL: what a transaction promised is on the disk when it returns. Transactions
that write take the write lock when they begin, so that none fails half-way because another came first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tocsin.errors import StateError
from tocsin.model import Seconds

BUSY_TIMEOUT_MS = 5_000
BEGIN = "tocsin_begin"
"""Execution option: how a transaction on SQLite begins; by default it takes the write lock at once."""


PATIENCE: Final[Seconds] = 20.0
"""How long Postgres may take for one statement. One that hangs (its machine is gone, its process is stopped) says
nothing at all: without an end of our own a write would wait for hours, and everything behind it."""


def connect(url: str, *, durable: bool = True, patience: Seconds = PATIENCE, most: int = 6) -> AsyncEngine:
    """An engine for `sqlite:///file` or `postgresql://…`; opens nothing yet. Raises StateError.

    `patience` and `most` (connections at once) are Postgres'.

    `durable=False` leaves it to the system when SQLite's file reaches the disk: for tests, which pull no plug.
    """
    parsed = _url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed, durable)
    from tocsin.state.impatient import arguments

    return create_async_engine(
        parsed, pool_size=min(4, most), max_overflow=most - min(4, most), pool_pre_ping=True, pool_recycle=1800,
        connect_args=arguments(patience),
    )  # fmt: skip


def _url(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StateError("state.url is not a URL; write sqlite:///tocsin.db or postgresql://user@host/db") from None
    match parsed.drivername.split("+")[0]:
        case "sqlite":
            if not parsed.database or parsed.database == ":memory:":
                raise StateError("state.url names no file; write sqlite:///tocsin.db")
            return parsed.set(drivername="sqlite+aiosqlite")
        case "postgres" | "postgresql":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise StateError(f"state.url: {other} is not supported; write sqlite:///tocsin.db or postgresql://…")


def file_of(engine: AsyncEngine) -> Path | None:
    """SQLite's file; None for Postgres."""
    return Path(engine.url.database or "") if engine.dialect.name == "sqlite" else None


def _sqlite(url: URL, durable: bool) -> AsyncEngine:
    engine = create_async_engine(url, pool_size=3, max_overflow=3, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})

    pragmas = (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        f"synchronous={'FULL' if durable else 'OFF'}",
        "journal_size_limit=16777216",
        "cache_size=-2048",
    )

    @sa.event.listens_for(engine.sync_engine, "connect")
    def _settings(connection: Any, _: Any) -> None:
        # The driver's own BEGIN is off: `_begin` below says which kind.
        connection.isolation_level = None
        try:
            cursor = connection.cursor()
            for pragma in pragmas:
                cursor.execute(f"PRAGMA {pragma}")
            cursor.close()
        except BaseException:
            # Nobody else knows of it yet, and its thread would outlive the loop.
            connection.close()
            raise

    @sa.event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        if begin := connection.get_execution_options().get(BEGIN, "BEGIN IMMEDIATE"):
            connection.exec_driver_sql(begin)

    return engine


@contextmanager
def state_errors(engine: AsyncEngine) -> Iterator[None]:
    """What the database says, as a StateError that says what to do."""
    try:
        yield
    except (SQLAlchemyError, OSError) as error:
        raise StateError(_explained(error, engine)) from error


_MENDS = (
    ("disk is full", "the disk is full: make room; what was not written is kept in memory and written then"),
    ("disk i/o error", "the disk does not take writes: make room on it, or look at its health"),
    ("readonly", "the file can't be written: give the daemon's user write access to it and to its folder"),
    ("database is locked", "another program holds the file for longer than 5 s: see who with `fuser`, and stop it"),
    ("malformed", "the file is damaged: move it away and restore a backup (see `tocsin state check`)"),
    ("not a database", "the file is not a state store: point state.url elsewhere, or move the file away"),
    ("unable to open", "the file can't be opened: does its folder exist, and may the daemon's user write there?"),
    ("no such table", "the store was never set up: run `tocsin state migrate`"),
    ("does not exist", "the database or a table of it is missing: create it, then run `tocsin state migrate`"),
    ("password authentication failed", "Postgres refused the password: check state.url"),
    ("connection refused", "Postgres does not listen there: start it, or correct state.url"),
)


def _explained(error: Exception, engine: AsyncEngine) -> str:
    text = str(getattr(error, "orig", None) or error).strip().splitlines()[0] if str(error) else type(error).__name__
    where = engine.url.database if engine.dialect.name == "sqlite" else engine.url.render_as_string(hide_password=True)
    mend = next((mend for sign, mend in _MENDS if sign in text.lower()), "it is tried again")
    return f"{where}: {text}: {mend}"
