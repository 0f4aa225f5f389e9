"""Where envelopes come in: see tocsin.web.sentry for the route."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Mapping
from pathlib import Path
from weakref import WeakValueDictionary

from collectors.sentry.category import names_of
from collectors.sentry.counts import Counts
from collectors.sentry.envelope import events_of
from collectors.sentry.settings import SentrySettings
from tocsin.ports import secret_text

_COUNTS: WeakValueDictionary[tuple[Path, str], Counts] = WeakValueDictionary()
"""An inlet and the collector of the same name are made apart, and count together."""


def counts_of(settings: SentrySettings, folder: Path) -> Counts:
    """The counts of a collector, for as long as one of the two holds them."""
    return _COUNTS.setdefault((folder, settings.name), Counts())


class SentryInlet:
    """Counts envelopes, for one collector."""

    def __init__(self, settings: SentrySettings, folder: Path) -> None:
        self.name = settings.name
        self.address = f"sentry/{settings.project}"
        self._key = secret_text(settings.key).encode()
        self._names = names_of(settings.categories)
        self._counts = counts_of(settings, folder)

    def admits(self, secret: str) -> bool:
        """True for the key of this project's DSN."""
        return hmac.compare_digest(self._key, secret.encode("utf-8", "surrogatepass"))

    async def take(self, body: bytes) -> Mapping[str, int | str]:
        """Count an envelope; its id, as the SDKs expect it. Raises ValueError that says what is wrong with it."""
        try:
            # Of a megabyte of JSON the loop would notice.
            id, events = await asyncio.to_thread(events_of, body, self._names)
        except ValueError:
            self._counts.add_broken()
            raise
        self._counts.add(events, time.time())
        return {"id": id}

    async def close(self) -> None:
        """Nothing is under way."""


def inlet_of(settings: SentrySettings, folder: Path) -> SentryInlet:
    """Where the collector's envelopes come in."""
    return SentryInlet(settings, folder)
