"""Silences: which alerts they hide, and when. There is none without an end and a reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from tocsin.incidents.context import Mute
from tocsin.incidents.matching import all_match, matches, pattern
from tocsin.model import NO_LABELS, Alert, MatchOp, Reason, Silence

LONGEST: Final = timedelta(days=30)
"""A silence that is wanted for longer is a rule that wants mending."""


def check(silence: Silence) -> None:
    """Raises ValueError that says what a silence must have."""
    if not silence.matchers:
        raise ValueError("a silence needs at least one matcher, e.g. alertname=ApiDown")
    if not silence.why.strip():
        raise ValueError("a silence needs a reason (--why), so that the next on call knows")
    if silence.ends_at <= silence.starts_at:
        raise ValueError("a silence must end after it starts")
    if silence.ends_at - silence.starts_at > LONGEST:
        raise ValueError(f"a silence may last {LONGEST.days} days; mend or remove the rule instead, or renew it then")
    for matcher in silence.matchers:
        if matcher.op in (MatchOp.REGEX, MatchOp.NOT_REGEX):
            pattern(matcher.value)
    if all(matches(matcher, NO_LABELS) for matcher in silence.matchers):
        raise ValueError("a silence needs a matcher that does not match an empty value, or it hides everything")


def in_force(silences: Iterable[Silence], now: datetime) -> tuple[Silence, ...]:
    """Those that have begun and not ended."""
    return tuple(silence for silence in silences if silence.starts_at <= now < silence.ends_at)


def silenced_by(labels: Mapping[str, str], silences: Iterable[Silence]) -> Silence | None:
    """The one of `silences` that hides an alert with `labels` for longest."""
    hiding = (silence for silence in silences if all_match(silence.matchers, labels))
    return max(hiding, key=lambda silence: (silence.ends_at, silence.id), default=None)


def mute_of(silence: Silence) -> Mute:
    """The silence as policy reads it."""
    because = f"silenced by {silence.created_by} until {silence.ends_at:%d %b %H:%M %Z}: {silence.why}"
    return Mute(reason=Reason.SILENCED_BY, because=because, until=silence.ends_at, silence=silence.id)


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """What a silence would hide: shown before it is made."""

    now: tuple[Alert, ...]
    """The alerts that fire now."""
    past: tuple[Alert, ...]
    """Those of the last 30 days that have ended; worst first."""

    def text(self) -> str:
        """`hides 14 now, 212 in the last 30 days, including 1 P0`."""
        pages = sum(alert.severity.rank == 0 for alert in (*self.now, *self.past))
        said = f"hides {len(self.now):,} now, {len(self.past):,} in the last 30 days"
        return said + (f", including {pages:,} P0" if pages else "")


def preview(silence: Silence, now: Iterable[Alert], past: Iterable[Alert]) -> Preview:
    """What `silence` matches of the alerts that fire and of those that fired."""

    def hidden(alerts: Iterable[Alert]) -> tuple[Alert, ...]:
        found = [alert for alert in alerts if all_match(silence.matchers, alert.labels)]
        return tuple(sorted(found, key=lambda alert: (alert.severity.rank, alert.active_at)))

    return Preview(now=hidden(now), past=hidden(past))
