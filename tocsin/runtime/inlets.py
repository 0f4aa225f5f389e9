"""The collectors' inlets: where events are pushed to them. They follow the configuration."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable, Mapping
from pathlib import Path

from tocsin.ports import CollectorSettings, Inlet
from tocsin.runtime import plugins
from tocsin.runtime.ending import closed


class Inlets:
    """Those of the collectors in force."""

    def __init__(self) -> None:
        self.open: Mapping[str, Inlet] = {}
        """By the collector's name."""

    async def replace(
        self, collectors: Iterable[CollectorSettings], folder: Path, *, stays: Container[str] = ()
    ) -> None:
        """Open those of `collectors`, less the ones that stay; whoever posts meanwhile waits for none of it."""
        before, now = self.open, {name: inlet for name, inlet in self.open.items() if name in stays}
        for settings in collectors:
            make = plugins.collectors().find(settings.kind).inlet
            if settings.name not in stays and make is not None and (inlet := make(settings, folder)) is not None:
                now[settings.name] = inlet
        self.open = now
        gone = {name: inlet for name, inlet in before.items() if now.get(name) is not inlet}
        await asyncio.gather(
            *(closed("inlet.close_failed", inlet.close(), collector=name) for name, inlet in gone.items())
        )

    async def close(self) -> None:
        """What is under way is kept first."""
        await self.replace((), Path())
