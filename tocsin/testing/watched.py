"""The watched system of a simulation: what fires in it, what of that can be seen, and what a rule makes of it.

Each method changes what is so and gives the alerts as the next evaluation sees them. While a service is out of sight
(its collector is down) nothing of it is seen to begin or to end: what fired is frozen, and the rest comes out when it
is seen again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from tocsin.model import Alert, AlertState, Labels


class Watched:
    """What fires, by alert id, as a daemon can know it."""

    def __init__(self) -> None:
        self.firing: dict[str, Alert] = {}
        self.hidden: set[str] = set()
        """Services that can't be seen."""
        self._began_unseen: dict[str, Alert] = {}
        self._ended_unseen: set[str] = set()

    def has(self, labels: Labels) -> bool:
        """True while an alert with these labels fires, seen or not."""
        return any(alert.labels == labels for alert in (*self.firing.values(), *self._began_unseen.values()))

    def begin(self, label_sets: Iterable[Labels], now: datetime) -> list[Alert]:
        """They fire from now on → those that are seen to."""
        alerts = [
            Alert(
                rule=f"rules;{labels['alertname']}", labels=labels, state=AlertState.FIRING, value=1.0, active_at=now,
                fired_at=now,
            )
            for labels in label_sets
        ]  # fmt: skip
        seen = [alert for alert in alerts if not self._is_hidden(alert)]
        self.firing |= {alert.id: alert for alert in seen}
        self._began_unseen |= {alert.id: alert for alert in alerts if self._is_hidden(alert)}
        return seen

    def end(self, wanted: Labels, now: datetime) -> list[Alert]:
        """Every alert with those labels ends → those that are seen to."""
        self._began_unseen = {id: a for id, a in self._began_unseen.items() if not a.labels.contains(wanted)}
        over = [alert for alert in self.firing.values() if alert.labels.contains(wanted)]
        self._ended_unseen |= {alert.id for alert in over if self._is_hidden(alert)}
        return self._over([alert for alert in over if not self._is_hidden(alert)], now)

    def delete(self, name: str, now: datetime) -> list[Alert]:
        """The rule `name` is gone from the configuration: it can't fire, seen or not → its alerts, ended."""
        self._began_unseen = {id: a for id, a in self._began_unseen.items() if a.name != name}
        return self._over([alert for alert in self.firing.values() if alert.name == name], now)

    def hide(self, service: str, now: datetime) -> list[Alert]:
        """A service is out of sight → what fires in it, frozen."""
        self.hidden.add(service)
        frozen = [
            replace(alert, frozen_since=now, frozen_why=f"{service} can't be seen")
            for alert in self.firing.values()
            if self._is_hidden(alert) and alert.frozen_since is None
        ]
        self.firing |= {alert.id: alert for alert in frozen}
        return frozen

    def show(self, service: str, now: datetime) -> list[Alert]:
        """A service is seen again → all that fires in it, and what ended in the meantime."""
        self.hidden.discard(service)
        own = [alert for alert in self.firing.values() if alert.labels["service"] == service]
        over = self._over([alert for alert in own if alert.id in self._ended_unseen], now)
        began = [alert for alert in self._began_unseen.values() if alert.labels["service"] == service]
        for alert in began:
            del self._began_unseen[alert.id]
        # What ended unseen and began again unseen has fired all the time, as far as anybody can tell.
        on = [replace(alert, frozen_since=None, frozen_why="") for alert in own if alert.id in self.firing]
        on += [replace(alert, active_at=now, fired_at=now) for alert in began]
        self.firing |= {alert.id: alert for alert in on}
        return [*(alert for alert in over if alert.id not in self.firing), *on]

    def missed(self, known: Mapping[str, Alert], now: datetime) -> list[Alert]:
        """What the first evaluation after a restart finds, where the state store had `known`."""
        lost = [alert for id, alert in self.firing.items() if id not in known]
        for alert in lost:
            if alert.frozen_since is not None:
                # Nobody remembers it, and nobody can see it.
                del self.firing[alert.id]
                if alert.id not in self._ended_unseen:
                    self._began_unseen[alert.id] = replace(alert, frozen_since=None, frozen_why="")
        began = [replace(alert, fired_at=now) for alert in lost if alert.frozen_since is None]
        over = [ended(alert, now) for id, alert in known.items() if id not in self.firing]
        return [*began, *over]

    def _is_hidden(self, alert: Alert) -> bool:
        return alert.labels.get("service", "") in self.hidden

    def _over(self, alerts: Collection[Alert], now: datetime) -> list[Alert]:
        for alert in alerts:
            del self.firing[alert.id]
            self._ended_unseen.discard(alert.id)
        return [ended(alert, now) for alert in alerts]


def ended(alert: Alert, now: datetime) -> Alert:
    """The alert as an evaluation gives it once its condition is over."""
    return replace(alert, state=AlertState.RESOLVED, resolved_at=now, frozen_since=None, frozen_why="")
