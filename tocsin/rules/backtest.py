"""What rules would have told: samples of the past through rules, grouping, silences and policy, on a virtual clock.

    account = backtest(groups, ground, plan, Span(start=…, end=…, step=15.0))
    account.messages      in order: when, to whom, about which incident, why
    account.incidents     what was opened, and when somebody was first paged about it

The rules are replayed in strides (`strides`); what changes goes through `tocsin.incidents` as in the daemon, and
between two changes time passes there second by second where it matters. What is counted are the messages that would
have been queued, as if every destination took them at once.

What the past does not tell: which polls failed (so nothing is frozen by blindness), who acknowledged (so every
escalation runs its course), how slow or down a destination was (no fail-over, no storm summary).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

from tocsin.incidents import Book, Outcome, Plan, react, tick
from tocsin.model import (
    NO_LABELS,
    Action,
    Incident,
    Labels,
    Notification,
    Reason,
    Seconds,
    Severity,
    Silence,
    Transition,
)

from .rule import Group
from .strides import Ground, Stretch, Strides

PAGES: Final = frozenset({Action.POST, Action.BROADCAST})
"""What rings: a first message, and one that says that it got worse. Escalations are counted apart: nobody acked."""
PAGING: Final = frozenset({Severity.P0, Severity.P1})
EDITS: Final = frozenset({Action.EDIT})
"""Changes of a message that is there; nobody notices one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """The time to replay."""

    start: datetime
    end: datetime
    step: Seconds
    begin: datetime | None = None
    """Earlier than `start`: rules run from here on, so that what is pending or firing at the start is known."""
    without: tuple[tuple[datetime, datetime], ...] = ()
    """When nothing was evaluated, as the daemon was not running."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One message that would have been sent."""

    at: datetime
    notifier: str
    action: Action
    severity: Severity
    incident: str
    what: str
    """The names of the alerts that it is about."""
    group: Labels
    reason: Reason
    why: str

    @property
    def pages(self) -> bool:
        """True when it rings: see PAGES."""
        escalated = self.reason is Reason.UNACKED_TOO_LONG
        return self.action in PAGES and self.severity in PAGING and not escalated


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One incident, as it was in the end."""

    incident: Incident
    pages: tuple[Message, ...]
    """Those before the start of the span included."""

    @property
    def names(self) -> frozenset[str]:
        """The names of its alerts."""
        return frozenset(alert.name for alert in self.incident.members)

    @property
    def title(self) -> str:
        """`ApiDown, ApiSlow {service="api"}`"""
        labels = self.incident.group.without("alertname", "severity")
        return ", ".join(sorted(self.names)) + (f" {labels!r}" if labels else "")


@dataclass(frozen=True, kw_only=True)
class Account:
    """What came of one set of rules."""

    start: datetime
    messages: tuple[Message, ...]
    """All but edits, in order of time."""
    edits: int
    cases: tuple[Case, ...]
    """The incidents that were open at some time since the start."""
    evaluations: int
    """Steps at which every rule was evaluated."""
    problems: Mapping[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    """(rule, kind) → how often, and the first time what."""
    stepwise: frozenset[str] = frozenset()
    """The rules that could not be evaluated over many steps at once."""

    @property
    def pages(self) -> tuple[Message, ...]:
        return tuple(message for message in self.messages if message.pages)

    @property
    def paged(self) -> tuple[Case, ...]:
        """The incidents that somebody was paged about since the start."""
        return tuple(case for case in self.cases if any(page.at >= self.start for page in case.pages))

    def count(self, key: Callable[[Message], str]) -> dict[str, int]:
        """Messages by some key."""
        return dict(sorted(Counter(key(message) for message in self.messages).items()))


def backtest(
    groups: Sequence[Group],
    ground: Ground,
    plan: Plan,
    span: Span,
    *,
    silences: Iterable[Silence] = (),
    external_labels: Mapping[str, str] = NO_LABELS,
    external_url: str = "",
    progress: Callable[[int], object] = lambda steps: None,
) -> Account:
    """Replay `groups` over `ground`, which takes what they record. `progress` is told how many steps were done."""
    strides = Strides(groups, ground, span.step, external_labels, external_url)
    desk = _Desk(Book(plan=plan, silences={silence.id: silence for silence in silences}), span)
    for stretch in strides.over(span.begin or span.start, span.end, without=span.without):
        desk.take(stretch)
        progress(stretch.steps)
    return desk.account()


class _Desk:
    """The incidents' side of it."""

    def __init__(self, book: Book, span: Span) -> None:
        self._book = book
        self._span = span
        self._now = span.begin or span.start
        self._messages: list[Message] = []
        self._edits = 0
        self._incidents: dict[str, Incident] = {}
        self._problems: dict[tuple[str, str], tuple[int, str]] = {}
        self._stepwise: set[str] = set()
        self._steps = 0

    def take(self, stretch: Stretch) -> None:
        """The transitions of some steps, and the time that passes between them."""
        for at, changes in groupby(stretch.transitions, key=lambda change: change.at):
            self._pass_until(at)
            self._react(tuple(changes), at)
        self._pass_until(stretch.until)
        self._steps += stretch.steps
        self._stepwise |= stretch.stepwise
        for problem in stretch.problems:
            key = (problem.rule, problem.kind.value)
            count, what = self._problems.get(key, (0, problem.what))
            self._problems[key] = (count + 1, what)

    def _react(self, changes: Sequence[Transition], at: datetime) -> None:
        self._now = max(self._now, at)
        self._turn(react(self._book, changes, at))

    def _pass_until(self, end: datetime) -> None:
        """What time alone brings, as the daemon looks: once a second."""
        while (look := self._book.next_look) is not None and look <= end:
            self._now = max(look, self._now + timedelta(seconds=1))
            if self._now > end:
                self._now = end
                return
            self._turn(tick(self._book, self._now))

    def _turn(self, outcome: Outcome) -> None:
        self._book = outcome.book
        for incident in outcome.incidents:
            self._incidents[incident.id] = incident
        for call in outcome.calls:
            # Delivery is prompt here: what was queued has gone out, so that no first message can be taken back.
            for row in (call,) if isinstance(call, Notification) else call.otherwise:
                self._told(row)

    def _told(self, row: Notification) -> None:
        if row.action in EDITS:
            self._edits += row.created_at >= self._span.start
            return
        names = sorted({alert.name for incident in row.incidents for alert in incident.members})
        self._messages.append(
            Message(
                at=row.created_at,
                notifier=row.notifier,
                action=row.action,
                severity=row.severity,
                incident=row.incident.id,
                what=", ".join(names),
                group=row.incident.group,
                reason=row.reason,
                why=row.because,
            )
        )

    def account(self) -> Account:
        pages: dict[str, list[Message]] = {}
        for message in self._messages:
            if message.pages:
                pages.setdefault(message.incident, []).append(message)
        return Account(
            start=self._span.start,
            messages=tuple(message for message in self._messages if message.at >= self._span.start),
            edits=self._edits,
            cases=tuple(
                Case(incident=incident, pages=tuple(pages.get(id, ())))
                for id, incident in self._incidents.items()
                if incident.resolved_at is None or incident.resolved_at >= self._span.start
            ),
            evaluations=self._steps,
            problems=self._problems,
            stepwise=frozenset(self._stepwise),
        )
