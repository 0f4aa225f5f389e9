"""The canary: an alert that walks the whole way of one, poll → rule → outbox → notifier, and disturbs nobody.

It is polled by the scheduler as a collector is, its sample is stored and read by a rule of its own, the alert's begin
or end becomes a row of the outbox in the pipeline's transaction, and a courier claims that row and hands it to the
notifier at its end. That notifier posts nothing: it asks the real destinations whether they could take a message now,
with the call that `tocsin doctor` makes (Slack: auth.test and the channel). Each poll turns the alert over, so that
each walk has its transition.

It does not pass through routes, silences and windows: a silence of everything is somebody's wish, and no reason for an
alarm. Nor does it show among the alerts and incidents of the application.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from tocsin.errors import Unavailable
from tocsin.model import (
    NO_LABELS,
    Action,
    AlertState,
    Blind,
    BlindSpot,
    Incident,
    IncidentState,
    Notification,
    Reason,
    Receipt,
    Sample,
    Seconds,
    Severity,
    Transition,
)
from tocsin.ports import Clock, CollectorContext, CollectorSettings, CollectorSpec, Health
from tocsin.promql import Storage
from tocsin.rules.load import load_text
from tocsin.runtime.courier import Endpoint
from tocsin.runtime.evaluation import RuleBook
from tocsin.telemetry.metrics import CANARY_WALK

NAME: Final = "tocsin-canary"
"""Of its collector and of its notifier."""
RULES: Final = f"""
groups:
  - name: {NAME}
    rules:
      - alert: TocsinCanary
        expr: {CANARY_WALK.name} % 2 == 1
        labels: {{severity: P3}}
"""


class Stage(StrEnum):
    """How far a walk has come; what a late one waits for is the next."""

    POLLED = "polled"
    QUEUED = "queued"
    SENT = "sent"


@dataclass(kw_only=True)
class Walk:
    """One walk."""

    at: datetime
    began: Seconds
    """Monotonic."""
    stage: Stage = Stage.POLLED
    why: str = ""
    """What kept it, where that is known."""

    @property
    def id(self) -> str:
        """Of its row."""
        return f"canary:{round(self.at.timestamp() * 1e6)}"


class Canary:
    """Collector, rule and notifier of the walk. `begun` is told each walk as it begins."""

    def __init__(
        self, clock: Clock, *, begun: Callable[[Walk], None], through: Callable[[], Iterable[Endpoint]]
    ) -> None:
        self._clock = clock
        self._begun = begun
        self._through = through
        self._count = 0
        self._walk: Walk | None = None
        self._rules = RuleBook(load_text(RULES, "the canary's rule"))

    # The collector ---------------------------------------------------------------------------------------------------

    async def collect(self, at: datetime) -> AsyncIterator[Sample | Blind]:
        """A number that no poll before had."""
        self._count += 1
        self._walk = Walk(at=at, began=self._clock.monotonic())
        self._begun(self._walk)
        yield Sample(name=CANARY_WALK.name, value=float(self._count), at=at)

    async def close(self) -> None:
        """There is nothing to close."""

    # The rule --------------------------------------------------------------------------------------------------------

    def evaluate(self, storage: Storage, blind: Sequence[BlindSpot], now: datetime) -> tuple[Notification, ...]:
        """What its rule makes of the poll that was just stored: the row of the walk, or none and the reason."""
        walk = self._walk
        if walk is None:
            return ()
        done = self._rules.evaluate(
            self._rules.groups, storage, blind, now, sampled_at=walk.at,
            # Not stored: nobody's panel of firing alerts should show it.
            record=lambda samples: None,
        )  # fmt: skip
        walk.why = "; ".join(problem.what for _, problem in done.new_problems)
        rows = tuple(_row(walk, change, now) for change in done.transitions)
        if rows:
            walk.stage = Stage.QUEUED
        return rows

    # The notifier ----------------------------------------------------------------------------------------------------

    async def send(self, notification: Notification, parent: Receipt | None) -> Receipt:
        """Received, if a real destination could take a message now. Raises Unavailable."""
        walk = self._walk if self._walk is not None and self._walk.id == notification.id else None
        if walk is not None:
            walk.why = await self._unreachable()
            if walk.why:
                raise Unavailable(walk.why)
            walk.stage = Stage.SENT
        return Receipt(
            notification=notification.id, notifier=NAME, incident=notification.incident.id, action=notification.action,
            at=self._clock.now(),
        )  # fmt: skip

    async def find(self, notification: Notification, parent: Receipt | None) -> Receipt | None:
        """Nothing was posted, so there is nothing to find."""
        return None

    async def check(self) -> Health:
        """It is in this process."""
        return Health(ok=True, what="walks the way of an alert")

    async def _unreachable(self) -> str:
        """Empty as soon as one destination says that it could take a message; else what each said."""
        said = []
        for endpoint in self._through():
            try:
                health = await endpoint.notifier.check()
            except Exception as error:  # noqa: BLE001 (a notifier that can't even be asked takes no message)
                health = Health(ok=False, what=f"{type(error).__name__}: {error}")
            if health.ok:
                return ""
            said.append(f"{endpoint.name}: {health.what}")
        return "; ".join(said) or "no notifier is configured"


def _row(walk: Walk, change: Transition, now: datetime) -> Notification:
    firing = change.alert.state is AlertState.FIRING
    incident = Incident(
        id=walk.id, route="", group=NO_LABELS, state=IncidentState.OPEN if firing else IncidentState.RESOLVED,
        severity=Severity.P3, members=(change.alert,), opened_at=now, updated_at=now,
    )  # fmt: skip
    return Notification(
        id=walk.id, notifier=NAME, action=Action.POST, reason=Reason.NEW_INCIDENT, because="the canary walks",
        incidents=(incident,), created_at=now, not_before=now,
    )  # fmt: skip


def _build(settings: CollectorSettings, context: CollectorContext) -> Canary:
    raise AssertionError("the canary is built by the heartbeat")


SPEC: Final = CollectorSpec(kind=NAME, settings=CollectorSettings, build=_build, metrics=(CANARY_WALK,))
"""Declares what it yields; no configuration names it."""
