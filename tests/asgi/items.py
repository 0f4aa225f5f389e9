"""A `Database` with its series and its log."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from prometheus_client import CollectorRegistry

from tests.asgi.frameworks import Kept
from tocsin.asgi import Database, Lines
from tocsin.asgi.measures import Measures


class Made:
    """A database, its series and its log."""

    def __init__(self, dsn: str, **more: Any) -> None:
        self.registry = CollectorRegistry()
        self.kept = Kept()
        self.database = Database(dsn, measures=Measures(self.registry), lines=Lines(self.kept), **more)

    def value(self, name: str, **labels: str) -> float:
        found = self.registry.get_sample_value(f"tocsin_database_{name}", {"database": "app", **labels})
        return -1.0 if found is None else found


@contextlib.asynccontextmanager
async def opened(dsn: str, **more: Any) -> AsyncIterator[Made]:
    made = Made(dsn, **{"wait": 20.0, **more})
    async with made.database:
        yield made
