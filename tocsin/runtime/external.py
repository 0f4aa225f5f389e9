"""Alerts that are sent to us: by a Prometheus, a vmalert, amtool. They live as Alertmanager's do.

    news = external.take(posted, now)      begun, changed, ended; the rest is no news
    news = external.expire(now)            what was not sent again in time has ended

An alert ends at its `ends_at`; one without gets RESOLVE_TIMEOUT from now, and each sending gives it new time. A sender
repeats what still fires every minute or so: that is no news, and is not stored.

After a restart, or a time in which the process did not run, nobody has heard what was sent meanwhile, so each alert has
RESOLVE_TIMEOUT from then at least: unknown is not OK. Only an end that is further off needs to be stored when it moves.

Source: alertmanager/api/v2/api.go, postAlertsHandler; types/types.go, Alert.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from tocsin.errors import TocsinError
from tocsin.model import NO_LABELS, Alert, AlertState, Labels, Seconds, Transition

RESOLVE_TIMEOUT: Final = timedelta(minutes=5)
"""Alertmanager's default."""
MOST: Final = 100_000
"""Alerts held at once."""
SENT: Final = ";api;"
"""Their `rule` begins so. No rule's does: a group has a name."""


class TooMany(TocsinError):
    """More alerts were sent than are held at once: group them at their source."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Posted:
    """An alert as it was sent."""

    labels: Labels
    annotations: Labels = NO_LABELS
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    source_url: str = ""

    def later(self, seconds: Seconds) -> Posted:
        """Its times moved on; below a second nothing is."""
        if seconds < 1:
            return self
        move = timedelta(seconds=seconds)
        return replace(
            self, starts_at=self.starts_at and self.starts_at + move, ends_at=self.ends_at and self.ends_at + move
        )


def posted_json(posted: Posted) -> dict[str, Any]:
    """For the replica that leads; read by `posted_of`."""
    return {
        "labels": dict(posted.labels), "annotations": dict(posted.annotations),
        "starts_at": posted.starts_at and posted.starts_at.isoformat(),
        "ends_at": posted.ends_at and posted.ends_at.isoformat(), "source_url": posted.source_url,
    }  # fmt: skip


def posted_of(document: Mapping[str, Any]) -> Posted:
    """What `posted_json` wrote."""
    starts, ends = document["starts_at"], document["ends_at"]
    return Posted(
        labels=Labels(document["labels"]), annotations=Labels(document["annotations"]),
        starts_at=datetime.fromisoformat(starts) if starts else None,
        ends_at=datetime.fromisoformat(ends) if ends else None, source_url=document["source_url"],
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class News:
    """What came of it."""

    transitions: tuple[Transition, ...] = ()
    changed: tuple[Alert, ...] = ()
    """To be stored: begun, changed so that a restart must know, or ended (resolved)."""


class ExternalAlerts:
    """Those that have not ended."""

    def __init__(self, alerts: Iterable[Alert] = (), now: datetime | None = None) -> None:
        """`alerts`: what an earlier process left; `now` is needed with them."""
        self._alerts = {alert.id: alert for alert in alerts}
        self._updated: dict[str, datetime] = {}
        self._stored = {id: alert.ends_at for id, alert in self._alerts.items()}
        if self._alerts:
            assert now is not None
            self._updated = dict.fromkeys(self._alerts, now)
            self.wait_for_senders(now)

    @staticmethod
    def owns(alert: Alert) -> bool:
        """True for an alert that was sent."""
        return alert.rule.startswith(SENT)

    @property
    def alerts(self) -> Mapping[str, Alert]:
        """By id."""
        return self._alerts

    def updated_at(self, id: str) -> datetime | None:
        """When it was sent last."""
        return self._updated.get(id)

    def as_sent(self) -> list[Posted]:
        """All of them, as if they were sent again: for what takes over from this."""
        return [
            Posted(
                labels=alert.labels, annotations=alert.annotations, starts_at=alert.active_at, ends_at=alert.ends_at,
                source_url=alert.source_url,
            )
            for alert in self._alerts.values()
        ]  # fmt: skip

    def take(self, posted: Sequence[Posted], now: datetime) -> News:
        """What these say. Raises TooMany, and takes none of them then."""
        self._check_room(posted, now)
        transitions: dict[str, list[Transition]] = {}
        changed: dict[str, Alert] = {}
        for sent in posted:
            transition, store = self._take(sent, now)
            if transition is not None:
                transitions.setdefault(transition.alert.id, []).append(transition)
            if store is not None:
                changed[store.id] = store
        return News(
            transitions=tuple(each for several in transitions.values() for each in several),
            changed=tuple(changed.values()),
        )

    def _check_room(self, posted: Sequence[Posted], now: datetime) -> None:
        if len(self._alerts) + len(posted) <= MOST:
            return
        held = {alert.labels for alert in self._alerts.values()}
        new = {sent.labels for sent in posted if sent.ends_at is None or sent.ends_at > now}
        if len(new | held) > MOST:
            raise TooMany(
                f"{len(held)} alerts fire that were sent here, of {MOST} that are held at once; "
                "group them at their source"
            )

    def _take(self, sent: Posted, now: datetime) -> tuple[Transition | None, Alert | None]:
        """(its transition, the alert where it is to be stored)."""
        ends = sent.ends_at if sent.ends_at is not None else now + RESOLVE_TIMEOUT
        begins = min(sent.starts_at if sent.starts_at is not None else now, ends, now)
        fresh = Alert(
            rule=f"{SENT}{sent.labels.get('alertname', '')}",
            labels=sent.labels,
            annotations=sent.annotations,
            state=AlertState.FIRING,
            value=1.0,  # senders give none; this is what the series ALERTS says of an active one
            active_at=begins,
            fired_at=now,
            ends_at=ends,
            source_url=sent.source_url,
        )
        id = fresh.id
        known = self._alerts.get(id)
        if ends <= now:
            # One that was never seen to fire is no news: senders repeat an end for a quarter of an hour.
            return self._end(replace(known, annotations=sent.annotations), ends, now) if known else (None, None)
        self._updated[id] = now
        if known is None:
            self._alerts[id] = fresh
            self._stored[id] = ends
            return Transition(alert=fresh, before=None, at=now, sampled_at=now), fresh
        after = replace(fresh, active_at=min(begins, known.active_at), fired_at=known.fired_at)
        self._alerts[id] = after
        stored = self._stored[id]
        moved = ends != stored and max(ends, stored or ends) > now + RESOLVE_TIMEOUT
        if moved or after.active_at != known.active_at:
            self._stored[id] = ends
            return None, after
        return None, None

    def _end(self, alert: Alert, at: datetime, now: datetime) -> tuple[Transition, Alert]:
        """It ended at `at`, but not before it began nor later than now."""
        when = min(max(at, alert.active_at), now)
        ended = replace(alert, state=AlertState.RESOLVED, resolved_at=when)
        for book in (self._alerts, self._updated, self._stored):
            book.pop(alert.id, None)
        return Transition(alert=ended, before=AlertState.FIRING, at=now, sampled_at=now), ended

    def wait_for_senders(self, now: datetime) -> None:
        """Nobody could be heard for a while: each alert has RESOLVE_TIMEOUT at least to be sent again."""
        for id, alert in self._alerts.items():
            self._alerts[id] = replace(alert, ends_at=max(_ends(alert), now + RESOLVE_TIMEOUT))

    def expire(self, now: datetime) -> News:
        """Those whose time is up."""
        due = [alert for alert in self._alerts.values() if _ends(alert) <= now]
        ends = [self._end(alert, _ends(alert), now) for alert in due]
        return News(transitions=tuple(each for each, _ in ends), changed=tuple(alert for _, alert in ends))


def _ends(alert: Alert) -> datetime:
    assert alert.ends_at is not None
    return alert.ends_at
