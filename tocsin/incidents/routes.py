"""Routes: who is told about an alert, how it is grouped, and when it escalates.

    routes:
      - match: {severity: P0}
        notify: [slack-pages]
        group_by: [service]
        escalate: [{after: 5m, to: [backup]}, {after: 15m, to: [manager]}]
      - match: {severity: "P2|P3"}
        digest: daily
        notify: [slack-digest]

Routes are tried in order. The first that matches takes the alert; with `continue_` the ones after it are tried too. A
nested route (`routes`) is tried once its parent matched, and inherits what it does not say itself; where none of the
nested ones matches, the parent takes the alert.

A route with `hours` takes its alerts at any time and tells of them only then: what fires outside of its hours waits
until they begin, and whoever was told that something fires is told its end at any hour. P0 is no exception.

`match` values are regular expressions anchored at both ends, as Alertmanager's `=~`. `group_by` lists the labels whose
values make an incident: `[]` puts everything of the route in one, `["..."]` each alert in its own; not said means
`[alertname]`.

An alert that no route takes is told all the same, by the router's fallback: it shows as reason `no_route`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tocsin.durations import format_duration
from tocsin.incidents.hours import Hours
from tocsin.incidents.matching import fits, pattern
from tocsin.model import Labels, Mention, Seconds, Severity

EACH: Final = "..."
"""In `group_by`: each alert alone."""
FALLBACK: Final = "(no route)"
"""The name of the route that takes what no other takes."""
GROUP_BY: Final = ("alertname",)
FLAP_WINDOW: Final[Seconds] = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Digest:
    """P2 and P3 are told once a day, at this hour on the walls of `zone`."""

    at: time = time(9)
    zone: str = "UTC"

    def __post_init__(self) -> None:
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"not a time zone: {self.zone!r}; write it like Europe/Berlin or UTC") from None

    def after(self, now: datetime) -> datetime:
        """The first time for a digest later than `now`. An hour that a clock change skips is told when it ends."""
        zone = ZoneInfo(self.zone)
        day = now.astimezone(zone).date() - timedelta(days=1)
        while True:
            # By way of UTC: a wall time that does not exist becomes the instant it would have been.
            due = datetime.combine(day, self.at, zone).astimezone(now.tzinfo)
            if due > now:
                return due
            day += timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Escalation:
    """Nobody has acknowledged `after` this long: tell `to`, names of contacts or of notifiers."""

    after: Seconds
    to: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.after <= 0 or not self.to:
            raise ValueError("an escalation needs `after` above 0 and at least one name in `to`")


@dataclass(frozen=True, kw_only=True)
class Route:
    """One route. What is None is inherited from the route around it, or has the default that its line names."""

    match: Mapping[str, str] = field(default_factory=dict)
    """Label → regular expression, anchored. A label that an alert has not got counts as empty."""
    notify: tuple[str, ...] | None = None
    """Names of notifiers. () is allowed: the incident is kept and shown, and nobody is told."""
    group_by: tuple[str, ...] | None = None
    """Default: ("alertname",)."""
    digest: Digest | None = None
    """P2 and P3 wait for it. P0 and P1 never wait, whatever the route says."""
    escalate: tuple[Escalation, ...] | None = None
    mentions: tuple[Mention, ...] | None = None
    """Who is woken by the first message."""
    repeat: Seconds | None = None
    """Remind this often while nobody has acknowledged. Default: never."""
    flap_window: Seconds | None = None
    """What fires again within this long after its end reopens its incident. Default: 10 minutes."""
    hours: tuple[Hours, ...] | None = None
    """It tells only while one of these holds; what fires outside of them, and still does, is told when one begins.
    Default: at any time."""
    continue_: bool = False
    routes: tuple[Route, ...] = ()
    name: str = ""
    """Default: what it matches, e.g. `severity=P0`. Incidents remember it, so keep it."""

    def __post_init__(self) -> None:
        for expression in self.match.values():
            pattern(expression)
        if self.group_by is not None and EACH in self.group_by and len(self.group_by) > 1:
            raise ValueError(f'group_by: "{EACH}" stands alone, as each alert is its own group then')
        steps = [step.after for step in self.escalate or ()]
        if steps != sorted(steps):
            raise ValueError("escalate: the steps must be in the order of their `after`")

    def takes(self, labels: Mapping[str, str]) -> bool:
        """True when every expression matches its label."""
        return not self.misses(labels)

    def misses(self, labels: Mapping[str, str]) -> str:
        """Why it does not take `labels`: the first expression that does not match; empty when it does."""
        for label, expression in self.match.items():
            if not fits(expression, labels.get(label, "")) and not _is_severity(label, expression, labels):
                return f'{label}="{labels.get(label, "")}" is not {expression}'
        return ""

    def title(self) -> str:
        """The name, or one made of what it matches."""
        return self.name or ",".join(f"{label}={value}" for label, value in sorted(self.match.items())) or "default"

    # What the router reads: the value, inherited already, or the default.

    @property
    def receivers(self) -> tuple[str, ...]:
        return self.notify or ()

    @property
    def flap_seconds(self) -> Seconds:
        return FLAP_WINDOW if self.flap_window is None else self.flap_window

    def closed_until(self, now: datetime) -> datetime | None:
        """When its hours begin, where none of them hold now; None: it tells."""
        if not self.hours or any(hours.ends(now) is not None for hours in self.hours):
            return None
        return min((begin for hours in self.hours if (begin := hours.next(now)) is not None), default=None)

    def group_of(self, labels: Labels) -> Labels:
        """The labels whose values make the incident of an alert with `labels`."""
        names = GROUP_BY if self.group_by is None else self.group_by
        return labels if names == (EACH,) else labels.only(*names)


def _is_severity(label: str, expression: str, labels: Mapping[str, str]) -> bool:
    """`severity: P1` takes what other houses call critical: rules run unchanged, and reach who is to be woken."""
    return label == "severity" and bool(labels.get(label)) and fits(expression, Severity.of(labels).value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One route that was tried, and what came of it: the answer to "why was this told there?"."""

    route: str
    taken: bool
    why: str


class Router:
    """The routes of a configuration, in force. Immutable; finding the routes of an alert does not depend on time."""

    def __init__(self, routes: Sequence[Route], *, fallback: Route | None = None) -> None:
        self.routes = tuple(_settled(routes, None, set()))
        self.fallback = replace(fallback or Route(), name=FALLBACK, match={}, routes=())
        self._by_name = {route.name: route for route in (*_walk(self.routes), self.fallback)}

    def named(self, name: str) -> Route | None:
        """The route that an incident remembers, if it still exists."""
        return self._by_name.get(name)

    def routes_of(self, labels: Mapping[str, str]) -> tuple[Route, ...]:
        """Every route that takes an alert with `labels`; the fallback where none does."""
        return tuple(_taking(self.routes, labels)) or (self.fallback,)

    def explain(self, labels: Mapping[str, str]) -> tuple[Step, ...]:
        """Each route that was tried, in order, and why it took the alert or not."""
        steps = tuple(_explained(self.routes, labels))
        if any(step.taken for step in steps):
            return steps
        return (*steps, Step(route=FALLBACK, taken=True, why="no route matches, so the fallback tells it"))

    def notifiers(self) -> frozenset[str]:
        """Every notifier that some route names."""
        return frozenset(name for route in self._by_name.values() for name in route.receivers)


def _settled(routes: Iterable[Route], parent: Route | None, taken: set[str]) -> Iterator[Route]:
    """The routes with inherited values written in and names made unique."""
    for route in routes:
        own = route.title()
        name = own if parent is None or route.name else f"{parent.name} / {own}"
        unique, count = name, 1
        while unique in taken or unique == FALLBACK:
            count += 1
            unique = f"{name} #{count}"
        taken.add(unique)
        settled = replace(route, name=unique)
        if parent is not None:
            settled = replace(
                settled,
                notify=parent.notify if route.notify is None else route.notify,
                group_by=parent.group_by if route.group_by is None else route.group_by,
                digest=route.digest or parent.digest,
                escalate=parent.escalate if route.escalate is None else route.escalate,
                mentions=parent.mentions if route.mentions is None else route.mentions,
                repeat=parent.repeat if route.repeat is None else route.repeat,
                flap_window=parent.flap_window if route.flap_window is None else route.flap_window,
                hours=parent.hours if route.hours is None else route.hours,
            )
        yield replace(settled, routes=tuple(_settled(route.routes, settled, taken)))


def _walk(routes: Iterable[Route]) -> Iterator[Route]:
    for route in routes:
        yield route
        yield from _walk(route.routes)


def _taking(routes: Iterable[Route], labels: Mapping[str, str]) -> Iterator[Route]:
    for route in routes:
        if not route.takes(labels):
            continue
        nested = tuple(_taking(route.routes, labels))
        yield from nested or (route,)
        if not route.continue_:
            return


def _explained(routes: Iterable[Route], labels: Mapping[str, str]) -> Iterator[Step]:
    for route in routes:
        if why := route.misses(labels):
            yield Step(route=route.name, taken=False, why=why)
            continue
        nested = tuple(_explained(route.routes, labels))
        yield from nested
        told = f"tells {', '.join(route.receivers) or 'nobody'}{_when(route)}, grouped by {_grouping(route)}"
        if any(step.taken for step in nested):
            yield Step(route=route.name, taken=False, why="matches, and a nested route takes it")
        else:
            yield Step(route=route.name, taken=True, why=f"matches; {told}")
        if not route.continue_:
            return


def _grouping(route: Route) -> str:
    names = GROUP_BY if route.group_by is None else route.group_by
    if names == (EACH,):
        return "alert (each alone)"
    return ", ".join(names) or "nothing (all in one incident)"


def _when(route: Route) -> str:
    """`, during 0 9 * * mon-fri (Europe/Berlin) for 9h`; empty: at any time."""
    each = (f"{h.cron.text} ({h.zone}) for {format_duration(round(h.lasts))}" for h in route.hours or ())
    return f", during {' or '.join(each)}" if route.hours else ""
