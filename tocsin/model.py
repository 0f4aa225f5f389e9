"""The nouns every layer shares. Frozen, keyword-only, and every time is aware (UTC).

Nothing here knows a clock, a socket or a log: a value of this module can be built in a test in one line.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final, Self

Seconds = float
"""A duration in seconds."""

METRIC_NAME: Final = "__name__"

STALE: Final[float] = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
"""Prometheus' staleness marker, a NaN of one bit pattern: "this series has ended".

Source: prometheus/model/value/value.go, StaleNaN.
"""


def is_stale(value: float) -> bool:
    """True for the staleness marker only; an ordinary NaN is a value."""
    return value != value and struct.pack("<d", value) == struct.pack("<d", STALE)


class Labels(Mapping[str, str]):
    """An immutable label set, sorted by name, hashable; a label with an empty value is no label."""

    __slots__ = ("_hash", "_map")

    def __init__(self, pairs: Mapping[str, str] | None = None, /, **more: str) -> None:
        merged = {**(pairs or {}), **more}
        self._map: dict[str, str] = {name: merged[name] for name in sorted(merged) if merged[name] != ""}
        self._hash: int | None = None

    def __getitem__(self, name: str) -> str:
        return self._map[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._map)

    def __len__(self) -> int:
        return len(self._map)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(tuple(self._map.items()))
        return self._hash

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Labels):
            return self._map == other._map
        return NotImplemented

    def __repr__(self) -> str:
        return "{" + ", ".join(f'{name}="{_quoted(value)}"' for name, value in self._map.items()) + "}"

    def with_(self, pairs: Mapping[str, str] | None = None, /, **more: str) -> Labels:
        """These labels and `pairs`; on a clash `pairs` wins, an empty value removes."""
        return Labels({**self._map, **(pairs or {}), **more})

    def without(self, *names: str) -> Labels:
        """These labels less `names`."""
        return Labels({name: value for name, value in self._map.items() if name not in names})

    def only(self, *names: str) -> Labels:
        """The labels of `names` that are set here."""
        return Labels({name: self._map[name] for name in names if name in self._map})

    def contains(self, other: Mapping[str, str]) -> bool:
        """True when every label of `other` is set here to the same value."""
        return all(self._map.get(name) == value for name, value in other.items())

    def fingerprint(self) -> str:
        """16 hex digits, the same in every process and on every day."""
        text = "\xff".join(f"{name}\xfe{value}" for name, value in self._map.items())
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


NO_LABELS: Final = Labels()


class MetricType(StrEnum):
    """Prometheus' metric types."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"
    UNTYPED = "untyped"


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A declaration: what a name means. Whatever is charted or alerted on has one.

    A histogram is declared by its base name and yields `_bucket`, `_sum` and `_count`.
    """

    name: str
    type: MetricType
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""

    def series_names(self) -> tuple[str, ...]:
        """The names under which its samples are stored."""
        if self.type is MetricType.HISTOGRAM:
            return (f"{self.name}_bucket", f"{self.name}_sum", f"{self.name}_count")
        if self.type is MetricType.SUMMARY:
            return (self.name, f"{self.name}_sum", f"{self.name}_count")
        return (self.name,)


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """The identity of a stream of samples."""

    name: str
    labels: Labels = NO_LABELS

    def __str__(self) -> str:
        return f"{self.name}{self.labels!r}" if self.labels else self.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A value at a time.

    `created` is when a counter began at zero. The store writes that zero for a series it has not seen, so that
    the first burst of a new label set counts, where Prometheus' increase() misses it.
    """

    name: str
    labels: Labels = NO_LABELS
    value: float
    at: datetime
    created: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Blind:
    """What a collector could not see in this poll, and why. Unknown is not OK: alerts that read it are frozen.

    `metrics` empty means everything the collector declares and did not yield; `labels` narrows it to the series
    that carry them (one target of several).
    """

    why: str
    metrics: frozenset[str] = frozenset()
    labels: Labels = NO_LABELS


@dataclass(frozen=True, kw_only=True, slots=True)
class BlindSpot:
    """A `Blind` as the rules see it: whose, which series, since when."""

    source: str
    why: str
    since: datetime
    metrics: frozenset[str]
    labels: Labels = NO_LABELS

    def hides(self, metric: str | None) -> bool:
        """True when series named `metric` may be missing; None (any name) is always hidden."""
        return metric is None or metric in self.metrics

    def may_concern(self, labels: Labels) -> bool:
        """False when `labels` prove that the alert is about something else."""
        return all(labels.get(name, value) == value for name, value in self.labels.items())


class Severity(StrEnum):
    """P0 users are down or data is at risk · P1 act now in hours · P2 this week · P3 note."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"

    @property
    def rank(self) -> int:
        """0 is the most severe."""
        return int(self.value[1])

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> Severity:
        """The `severity` label; one that is missing or unknown counts as P2, so it is told, but wakes nobody."""
        return cls.named(labels.get("severity", "")) or cls.P2

    @classmethod
    def named(cls, word: str) -> Severity | None:
        """P0 to P3, or what the words of public rule collections stand for; None: a word that we don't know.

        Critical is P1 and no more: it wakes somebody, and the reserve kept for users being down stays P0's own.
        """
        try:
            return cls(word.upper())
        except ValueError:
            return next((severity for severity, words in _WORDS.items() if word.lower() in words), None)


_WORDS: Final[Mapping[Severity, frozenset[str]]] = {
    Severity.P1: frozenset({"critical", "page", "high"}),
    Severity.P2: frozenset({"error", "warning", "warn", "medium", "ticket"}),
    Severity.P3: frozenset({"info", "informational", "notice", "low", "none"}),
}


@lru_cache(maxsize=20_000)
def _alert_id(rule: str, labels: Labels) -> str:
    # Asked for a dozen times on an alert's way, and half the cost of a storm when it is worked out each time.
    return labels.with_(__rule__=rule).fingerprint()


class AlertState(StrEnum):
    """Prometheus' states, and `resolved` for one that has ended."""

    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """One label set of one rule. `labels` holds alertname and the rule's and group's labels."""

    rule: str
    """`group;alert`: which rule of which group, stable across reloads."""
    labels: Labels
    annotations: Labels = NO_LABELS
    state: AlertState
    value: float
    active_at: datetime
    """When the condition began."""
    fired_at: datetime | None = None
    resolved_at: datetime | None = None
    keep_firing_since: datetime | None = None
    """When the condition ended while `keep_firing_for` holds the alert."""
    frozen_since: datetime | None = None
    frozen_why: str = ""
    """Set while an input is unknown: the state below is the last one known."""
    ends_at: datetime | None = None
    """Of an alert that no rule here made, but that was sent to us: when it ends, unless it is sent again."""
    source_url: str = ""
    """Of such an alert: where its sender says it came from."""

    @property
    def id(self) -> str:
        """Stable: the fingerprint of rule and labels."""
        return _alert_id(self.rule, self.labels)

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "")

    @property
    def severity(self) -> Severity:
        return Severity.of(self.labels)


@dataclass(frozen=True, kw_only=True, slots=True)
class Transition:
    """An alert that changed: from `before` (None: it was not there) to `alert.state`, seen at `at`.

    `sampled_at` is when the poll that caused it read its source: the start of the clock for fault→message times.
    """

    alert: Alert
    before: AlertState | None
    at: datetime
    sampled_at: datetime | None = None
    why: str = ""
    """Where it is not the rule's own result: "its rule was removed"."""


class IncidentState(StrEnum):
    OPEN = "open"
    ACKED = "acked"
    RESOLVED = "resolved"


@dataclass(frozen=True, kw_only=True, slots=True)
class Incident:
    """The alerts grouped by a route's `group_by`: what a person sees, acknowledges and silences."""

    id: str
    """Short and sayable, e.g. `i-3f9a2c`."""
    route: str
    group: Labels
    """The values of the route's `group_by`."""
    state: IncidentState
    severity: Severity
    """The worst its members have been while it is open."""
    members: tuple[Alert, ...]
    opened_at: datetime
    updated_at: datetime
    revision: int = 1
    """Rises with each change that a reader of the message would see."""
    acked_at: datetime | None = None
    acked_by: str = ""
    resolved_at: datetime | None = None
    resolved_why: str = ""
    reopened: int = 0
    peak: int = 0
    """The most members that fired at once."""

    @property
    def firing(self) -> tuple[Alert, ...]:
        return tuple(alert for alert in self.members if alert.state is AlertState.FIRING)

    def changed(self, now: datetime, **values: object) -> Self:
        """A copy with `values`, one revision on."""
        return replace(self, updated_at=now, revision=self.revision + 1, **values)  # type: ignore[arg-type]


class MatchOp(StrEnum):
    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


@dataclass(frozen=True, kw_only=True, slots=True)
class Matcher:
    """Alertmanager's matcher; a regular expression is anchored at both ends."""

    name: str
    op: MatchOp
    value: str

    def __str__(self) -> str:
        return f'{self.name}{self.op.value}"{_quoted(self.value)}"'


@dataclass(frozen=True, kw_only=True, slots=True)
class Silence:
    """Hides the alerts that every matcher matches, from `starts_at` to `ends_at`. There is no "forever"."""

    id: str
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    created_by: str
    why: str


class Action(StrEnum):
    """What to do about an incident. Each that speaks is one call to the destination."""

    POST = "post"
    EDIT = "edit"
    THREAD = "thread"
    BROADCAST = "broadcast"
    HOLD = "hold"
    DIGEST = "digest"
    ESCALATE = "escalate"
    REMIND = "remind"
    RESOLVE = "resolve"
    """A reply in the thread that says how it ended."""


class Reason(StrEnum):
    """Why an action was decided: a label of logs and metrics."""

    NEW_INCIDENT = "new_incident"
    SEVERITY_ROSE = "severity_rose"
    MEMBERS_CHANGED = "members_changed"
    ACKED = "acked"
    RECOVERED = "recovered"
    CLOSED = "closed"
    """It ended without recovering: closed by hand, or what it is about is not configured any more."""
    REOPENED = "reopened"
    RESOLUTION_DEBT = "resolution_debt"
    SILENCED_BY = "silenced_by"
    IN_WINDOW = "in_window"
    WAITS_FOR_PARENT = "waits_for_parent"
    WITHIN_FLAP_WINDOW = "within_flap_window"
    OVER_BUDGET = "over_budget"
    UNACKED_TOO_LONG = "unacked_too_long"
    SOURCE_BLIND = "source_blind"
    LOW_SEVERITY = "low_severity"
    DIGEST_DUE = "digest_due"
    NOTHING_NEW = "nothing_new"
    NO_ROUTE = "no_route"
    ENDED_UNTOLD = "ended_untold"
    """It ended before anyone was told."""
    SILENCE_ENDED = "silence_ended"
    """What a silence hid is told, as it is over."""
    FAILED_OVER = "failed_over"
    MESSAGE_LOST = "message_lost"
    """The message that told it was deleted at the destination."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What to do about an incident now, and why. `because` is one line for people."""

    action: Action
    reason: Reason
    because: str
    until: datetime | None = None
    """When to look again although nothing else changed: a silence's end, a digest's hour."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mention:
    """Somebody to wake. Only routing makes one, so no label or log line can."""

    kind: str
    """`user`, `group`, `channel` or `here`."""
    id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """When each step of a datum's way happened; None where it did not pass there."""

    fault_at: datetime | None = None
    sampled_at: datetime | None = None
    decided_at: datetime | None = None
    sent_at: datetime | None = None
    acknowledged_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Notification:
    """An outbox row: one thing to say to one destination, once."""

    id: str
    """The idempotency key: the same decision makes the same id."""
    notifier: str
    action: Action
    reason: Reason
    because: str
    incidents: tuple[Incident, ...]
    """One; a digest or a storm summary has several. A snapshot: what it says does not change while it waits."""
    created_at: datetime
    not_before: datetime
    mentions: tuple[Mention, ...] = ()
    timeline: Timeline = Timeline()
    attempts: int = 0
    last_error: str = ""

    @property
    def incident(self) -> Incident:
        return self.incidents[0]

    @property
    def severity(self) -> Severity:
        return min((incident.severity for incident in self.incidents), key=lambda severity: severity.rank)


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """Where a notification landed. `ref` is the destination's own name of the message (Slack: its ts)."""

    notification: str
    notifier: str
    incident: str
    action: Action
    at: datetime
    destination: str = ""
    """Slack: the channel id; webhook: the URL's host."""
    ref: str = ""
    permalink: str = ""
    degraded: str = ""
    """How the message was reduced to get through, empty for whole."""
    extra: Labels = field(default=NO_LABELS)


def utc(seconds: float) -> datetime:
    """An aware datetime from seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC)


def since(then: datetime, now: datetime) -> timedelta:
    """`now - then`, never negative: a clock that jumped back makes no negative duration."""
    return max(now - then, timedelta(0))
