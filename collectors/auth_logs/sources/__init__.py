"""Where log lines come from: a file, a log drain, the Management API, SQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from collectors.auth_logs.settings import AuthLogsSettings, Drain
from collectors.auth_logs.sources.drain import DrainSource
from collectors.auth_logs.sources.file import FileSource
from collectors.auth_logs.sources.source import Source
from tocsin.model import Seconds

_ASKED_FOR: Final[Seconds] = 5.0
"""The longest that a drain's lines wait for an answer about what it missed."""


def source_of(settings: AuthLogsSettings, folder: Path, saved: Any) -> Source:
    """The source that `settings` name, at its saved position (None: there is none yet).

    Raises ValueError, TypeError, KeyError or AttributeError for a position that is none.
    """
    name, source, from_end = settings.name, settings.source, settings.start == "end"
    if source.drain is not None:
        return _drain(settings, source.drain, folder, saved)
    if source.management_api is not None:
        # Here, as below: a daemon that follows a file loads no client for HTTP and no driver for Postgres.
        from collectors.auth_logs.sources.management import ManagementSource

        # A poll has time for a page even where the one before took long.
        deadline = settings.time_limit * 0.8
        return ManagementSource(source.management_api, saved=saved, from_end=from_end, deadline=deadline)
    if source.sql is not None:
        from collectors.auth_logs.sources.sql import SqlSource

        return SqlSource(source.sql, saved=saved, from_end=from_end, job=name)
    assert source.file is not None
    return FileSource(folder / source.file, saved=saved, from_end=from_end, max_line=settings.max_line, job=name)


def _drain(settings: AuthLogsSettings, drain: Drain, folder: Path, saved: Any) -> Source:
    backfill = None
    if drain.backfill is not None:
        from collectors.auth_logs.sources.backfill import Backfill

        known = saved.get("backfill") if saved is not None else None
        backfill = Backfill(drain.backfill, saved=known, deadline=min(settings.time_limit / 2, _ASKED_FOR))
    return DrainSource(
        folder / settings.spool, saved=saved, max_line=settings.max_line, job=settings.name,
        most_bytes=drain.spool_bytes, backfill=backfill,
    )  # fmt: skip
