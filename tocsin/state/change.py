"""What one transaction writes. Changes that could not be stored merge, and are stored together later."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from tocsin.incidents import Outcome, Told
from tocsin.incidents.book import Decided
from tocsin.incidents.calls import Withdrawal
from tocsin.incidents.storms import Storm
from tocsin.incidents.told import Hidden
from tocsin.model import Alert, Incident, Notification, Silence

Entry = TypeVar("Entry")


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """Alerts, incidents, decisions and the outbox rows that go with them: all of it, or none."""

    alerts: tuple[Alert, ...] = ()
    """Alerts of rules as they are now: pending and firing ones are kept, resolved ones removed."""
    incidents: tuple[Incident, ...] = ()
    members: tuple[tuple[str, Alert], ...] = ()
    dropped: tuple[tuple[str, str], ...] = ()
    told: tuple[Told, ...] = ()
    untold: tuple[tuple[str, str], ...] = ()
    decisions: tuple[Decided, ...] = ()
    calls: tuple[Notification | Withdrawal, ...] = ()
    """For the outbox, in this order."""
    silences: tuple[Silence, ...] = ()
    storms: tuple[Storm, ...] = ()
    calmed: tuple[str, ...] = ()
    hidden: tuple[Hidden, ...] = ()

    @classmethod
    def of(cls, outcome: Outcome, alerts: Iterable[Alert] = ()) -> Change:
        """The change that an outcome is, with the alerts of the same evaluation."""
        return cls(
            alerts=tuple(alerts),
            incidents=outcome.incidents,
            members=outcome.members,
            dropped=outcome.dropped,
            told=outcome.told,
            untold=outcome.untold,
            decisions=outcome.decisions,
            calls=outcome.calls,
            silences=outcome.silences,
            storms=outcome.storms,
            calmed=outcome.calmed,
            hidden=outcome.hidden,
        )

    @property
    def empty(self) -> bool:
        # Asked for every tick and every evaluation: written out, it costs a tenth of a walk over the fields.
        return not (
            self.alerts or self.incidents or self.members or self.dropped or self.told or self.untold or self.decisions
            or self.calls or self.silences or self.storms or self.calmed or self.hidden
        )  # fmt: skip

    def then(self, later: Change) -> Change:
        """Both, `later` after this one: of two states of one thing the later stays."""
        dropped = {*self.dropped, *later.dropped} - {(incident, alert.id) for incident, alert in later.members}
        untold = {*self.untold, *later.untold} - {(told.incident, told.notifier) for told in later.told}
        members = _last((*self.members, *later.members), lambda entry: (entry[0], entry[1].id))
        told = _last((*self.told, *later.told), lambda entry: (entry.incident, entry.notifier))
        return replace(
            self,
            alerts=_last((*self.alerts, *later.alerts), lambda alert: alert.id),
            incidents=_last((*self.incidents, *later.incidents), lambda incident: incident.id),
            members=tuple(entry for entry in members if (entry[0], entry[1].id) not in dropped),
            dropped=tuple(sorted(dropped)),
            told=tuple(entry for entry in told if (entry.incident, entry.notifier) not in untold),
            untold=tuple(sorted(untold)),
            decisions=(*self.decisions, *later.decisions),
            calls=(*self.calls, *later.calls),
            silences=_last((*self.silences, *later.silences), lambda silence: silence.id),
            # The id of a storm that is over is never given again.
            storms=_last((*self.storms, *later.storms), lambda storm: storm.id),
            calmed=(*self.calmed, *later.calmed),
            hidden=_last((*self.hidden, *later.hidden), lambda each: (each.silence, each.incident, each.notifier)),
        )


def _last(entries: Iterable[Entry], key: Callable[[Entry], Hashable]) -> tuple[Entry, ...]:
    return tuple({key(entry): entry for entry in entries}.values())
