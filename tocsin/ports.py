"""The seams of the house: what the core asks of the edges, and what a plug-in declares.

A collector or notifier is one module (or package) in `collectors/` or `notifiers/` that names a `SPEC` or several
(`SPECS`). Nothing else registers it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from tocsin.durations import parse_duration
from tocsin.model import Blind, Metric, Notification, Receipt, Sample, Seconds

Duration = Annotated[Seconds, BeforeValidator(parse_duration)]
"""Seconds, written as a number or as Prometheus does: 500ms, 10s, 5m, 1h30m, 2d."""


class Clock(Protocol):
    """Only loops hold one; everything below them is told the time."""

    def now(self) -> datetime:
        """The wall clock, aware, UTC."""

    def monotonic(self) -> Seconds:
        """Never goes back; for measuring durations."""

    def skew(self) -> Seconds:
        """Seconds that `now` is ahead of the wall clock: more than a moment only after that was set back."""

    async def sleep(self, seconds: Seconds) -> None:
        """Wait that long, by the monotonic clock."""


# Series --------------------------------------------------------------------------------------------------------------


class SeriesStore(Protocol):
    """Where samples go. Reading is tocsin.promql's `Storage`."""

    def append(self, samples: Iterable[Sample]) -> int:
        """Store a poll's samples; how many were taken. Older than the newest of their series: refused and counted.

        Raises SeriesLimit after storing what fits.
        """


# Collectors ----------------------------------------------------------------------------------------------------------


class Checkpoint(Protocol):
    """A collector's memory across restarts: one blob, replaced atomically."""

    async def load(self) -> bytes | None:
        """What was saved last, or None."""

    async def save(self, blob: bytes) -> None:
        """Durable when this returns. Raises StateError."""


@dataclass(frozen=True, kw_only=True)
class CollectorContext:
    """What the runtime lends a collector."""

    checkpoint: Checkpoint
    poke: Callable[[], None]
    """Ask for a poll now: something was noticed between polls. Cheap, coalesced, safe to call often."""
    folder: Path
    """Relative paths in the settings are relative to this: config.yaml's folder."""


class CollectorSettings(BaseModel):
    """The keys every collector has; a collector's own settings model adds its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    name: str = Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$", description="the `job` label of its series")
    interval: Duration = Field(default=10.0, ge=0.1, description="time between polls")
    deadline: Duration | None = Field(
        default=None, gt=0, description="a poll's end at the latest; default: the interval, at most 10s"
    )
    labels: dict[str, str] = Field(default_factory=dict, description="added to every series, e.g. service, env")

    needs_secret: ClassVar[tuple[str, ...]] = ()

    @property
    def time_limit(self) -> Seconds:
        """Seconds a poll may take."""
        return self.deadline if self.deadline is not None else min(self.interval, 10.0)

    @property
    def subjects(self) -> Sequence[Mapping[str, str]]:
        """Of a collector with several targets: the labels that tell the series of each from the others'.

        Alerts about a target that is taken out of the settings end for that reason.
        """
        return ()


class Collector(Protocol):
    """Looks at one source when asked. Its module's docstring is its manual."""

    def collect(self, at: datetime) -> AsyncIterator[Sample | Blind]:
        """What is seen at `at`. A source that is down is a result (`up 0`); what can't be seen is a `Blind`.

        Raises CollectError (or anything) when nothing more can be said: the runtime makes it a `Blind` for all
        that the collector declares and has not yielded. Cancelled at the deadline.
        """

    async def close(self) -> None:
        """Release connections and background tasks."""


class Inlet(Protocol):
    """Where what is pushed to a collector waits until a poll counts it. The routes: tocsin.web.ingest, .sentry."""

    name: str
    """The collector's."""
    address: str
    """What is pushed to it, as its route names it: `auth-logs`, `sentry/1`."""

    def admits(self, secret: str) -> bool:
        """True for the secret that the collector's settings want of a sender; compared in constant time."""

    async def take(self, body: bytes) -> Mapping[str, int | str]:
        """Keep what was posted: it outlives a kill when this returns. What became of how many, for the sender.

        Raises ValueError that says what is wrong with it, and OSError where it can't be kept.
        """

    async def close(self) -> None:
        """Keep what is under way, then release what is open."""


@dataclass(frozen=True, kw_only=True)
class CollectorSpec:
    """How the runtime finds, configures, builds and documents a collector."""

    kind: str
    settings: type[CollectorSettings]
    build: Callable[[Any, CollectorContext], Collector]
    """(settings, context) → collector; does no I/O."""
    metrics: Sequence[Metric]
    """Every metric it may yield; for an open-ended one, its own."""
    open_ended: bool = False
    """It also yields names that nobody can declare (scrape: whatever the target says)."""
    examine: Callable[[Any, Path], Awaitable[Sequence[Health]]] | None = None
    """(settings, folder) → what `tocsin doctor` shows: what can be seen, and each gap with what mends it."""
    inlet: Callable[[Any, Path], Inlet | None] | None = None
    """(settings, folder) → where events are pushed to it; None: it fetches them itself. Does no I/O."""


# Notifiers -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class NotifierContext:
    """What the runtime lends a notifier."""

    clock: Clock
    """For the time of a receipt and the pace of sending."""
    folder: Path
    console_url: str = ""
    """Where the console is reached, for links; empty when not known."""
    permit: Callable[[], None] = lambda: None
    """Call it right before the bytes of a message leave, when all that takes time is done. Raises Unavailable where
    another replica sends by now."""


class BudgetSettings(BaseModel):
    """How many new messages a destination gets before the rest is told in one storm summary."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    burst: float = Field(default=10.0, ge=1, description="new messages at once")
    every: Duration = Field(default=30.0, gt=0, description="then one more each")
    reserve: float = Field(default=5.0, ge=0, description="messages beyond it that only P0 gets")


class NotifierSettings(BaseModel):
    """The keys every notifier has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    name: str = Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")
    failover: str | None = Field(default=None, description="the notifier that takes over when this one can't deliver")
    deadline: Duration = Field(default=10.0, gt=0, description="one attempt's end at the latest")
    budget: BudgetSettings = Field(default=BudgetSettings(), description="new messages before a storm summary")


@dataclass(frozen=True, kw_only=True)
class Health:
    """Whether a destination could be reached if it were needed now."""

    ok: bool
    what: str
    mend: str = ""


class Notifier(Protocol):
    """Says one thing to one destination. Stateless: what was said before comes in as receipts."""

    async def send(self, notification: Notification, parent: Receipt | None) -> Receipt:
        """Deliver; return only when the destination has it.

        `parent` is the receipt of the incident's first message here, for edits and thread replies.
        Raises a DeliveryError whose class says what to do next.
        """

    async def find(self, notification: Notification, parent: Receipt | None) -> Receipt | None:
        """Read back: the receipt, if this very notification did arrive. None: it did not. Raises as send does."""

    async def check(self) -> Health:
        """Existence, membership, scopes: before an alert needs them."""

    async def close(self) -> None:
        """Release connections."""


@dataclass(frozen=True, kw_only=True)
class NotifierSpec:
    """How the runtime finds, configures and builds a notifier."""

    kind: str
    settings: type[NotifierSettings]
    build: Callable[[Any, NotifierContext], Notifier]
    """(settings, context) → notifier; does no I/O."""
    edits: bool = False
    """It can edit and thread. Where not, only posts, escalations and resolutions are sent to it."""


def secret_text(secret: SecretStr | None) -> str:
    """The clear text, for the one call that needs it."""
    return secret.get_secret_value() if secret is not None else ""
