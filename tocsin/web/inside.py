"""What the port shows of the daemon, and what it may do there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tocsin.model import Metric
from tocsin.ports import Clock, Inlet
from tocsin.runtime.errands import Errands
from tocsin.runtime.pipeline import Pipeline
from tocsin.series.remote.engine import Engine
from tocsin.state import State
from tocsin.state.inbox import Inbox
from tocsin.telemetry.metrics import Telemetry
from tocsin.web.entrance import Entrance
from tocsin.web.reading import Reader


@dataclass(frozen=True, kw_only=True)
class Inside:
    """The daemon, as the routes see it."""

    clock: Clock
    telemetry: Telemetry
    pipeline: Pipeline
    state: State
    reader: Reader
    declared: Callable[[], Iterable[Metric]]
    ready: Callable[[], str]
    """Empty when ready, else one word that says why not."""
    started: datetime
    engine: Callable[[], Engine | None] = lambda: None
    """The server that answers queries (`series.engine`); None: the embedded store does."""
    entrance: Entrance | None = None
    """People's way in; without it only service tokens are."""
    address: Callable[[], str] = lambda: ""
    """Where clients reach us, as a URL; empty when not known."""
    runbooks: Callable[[], Path] = lambda: Path("runbooks")
    """The folder of the runbooks' pages."""
    leader: Callable[[], str] = lambda: ""
    """Where the replica is that leads, if this one follows; else empty."""
    inlets: Callable[[], Mapping[str, Inlet]] = dict
    """Where events are pushed to collectors, by the collector's name."""

    @property
    def errands(self) -> Errands:
        """How what people ask for is done, wherever the leader is."""
        return Errands(self.pipeline, Inbox(self.state), self.clock)
