"""Where log lines come from: a file, a log drain, the Management API, SQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from collectors.auth_logs.settings import AuthLogsSettings
from collectors.auth_logs.sources.drain import DrainSource
from collectors.auth_logs.sources.file import FileSource
from collectors.auth_logs.sources.source import Source


def source_of(settings: AuthLogsSettings, folder: Path, saved: Any) -> Source:
    """The source that `settings` name, at its saved position (None: there is none yet).

    Raises ValueError, TypeError, KeyError or AttributeError for a position that is none.
    """
    name, source, from_end = settings.name, settings.source, settings.start == "end"
    if source.drain is not None:
        return DrainSource(folder / settings.spool, saved=saved, max_line=settings.max_line, job=name)
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
