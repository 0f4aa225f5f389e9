"""Dependencies: an alert that another one explains is not told while that one fires.

    Dependency(match={"alertname": "Endpoint.*"}, depends_on={"alertname": "PostgresDown"}, equal=("cluster",))

Only a first message is held back. What was told goes on being told, with its end.

A parent explains a child while it fires as a member of an open incident that somebody is told of, and for `settle`
after its end, so that the child's rule has looked again before it may page. After a restart children wait as long for
their parents to be looked at. A parent whose source is blind keeps its last state, and so does what it explains.

What would hide trouble explains nothing: a parent that is less severe than the child, one whose incident a person
closed, and a circle of alerts of which each waits for the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from tocsin.incidents.context import Mute
from tocsin.incidents.matching import fits, pattern
from tocsin.model import Alert, AlertState, Reason, Seconds

SETTLE: Final[Seconds] = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Dependency:
    """Alerts that `match` matches wait for those of `depends_on` that have the same values of `equal`."""

    match: Mapping[str, str]
    """Label → regular expression, anchored; the child."""
    depends_on: Mapping[str, str]
    """The same of its parent."""
    equal: tuple[str, ...] = ()
    """Labels that both must have, with the same value. Alertmanager counts two missing ones as equal; here not."""
    settle: Seconds = SETTLE

    def __post_init__(self) -> None:
        if not self.match or not self.depends_on:
            raise ValueError("a dependency needs `match` (the child) and `depends_on` (its parent)")
        for expression in (*self.match.values(), *self.depends_on.values()):
            pattern(expression)

    def has_child(self, labels: Mapping[str, str]) -> bool:
        return _takes(self.match, labels) and all(labels.get(name) for name in self.equal)

    def has_parent(self, labels: Mapping[str, str]) -> bool:
        return _takes(self.depends_on, labels) and all(labels.get(name) for name in self.equal)

    def key(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        """What parent and child must share."""
        return tuple(labels.get(name, "") for name in self.equal)


def _takes(expressions: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(fits(expression, labels.get(label, "")) for label, expression in expressions.items())


class Parents:
    """The alerts that may explain others, as they are at one time."""

    def __init__(
        self, dependencies: Sequence[Dependency], told_of: Iterable[Alert], now: datetime, began: datetime | None
    ) -> None:
        """`told_of`: members of incidents that somebody is told of. `began`: when the daemon started."""
        self._dependencies, self._now, self._began = dependencies, now, began
        self._found: dict[tuple[int, tuple[str, ...]], list[Alert]] = {}
        for alert in told_of:
            for index, dependency in enumerate(dependencies):
                if dependency.has_parent(alert.labels):
                    self._found.setdefault((index, dependency.key(alert.labels)), []).append(alert)

    def mute(self, child: Alert) -> Mute | None:
        """Why `child` is not told yet; None: nothing explains it."""
        for parent in self.explaining(child):
            return _mute(f"waits for {_name(parent)}, which explains it")
        over: list[tuple[datetime, Alert]] = []
        for dependency, parent in self._of(child):
            if parent.state is AlertState.RESOLVED and parent.resolved_at is not None:
                over.append((parent.resolved_at + timedelta(seconds=dependency.settle), parent))
        until, parent = max(over, key=lambda entry: entry[0], default=(self._now, child))
        if until > self._now:
            return _mute(f"{_name(parent)}, which explained it, has just ended; it is told if it stays", until)
        return self._after_start(child)

    def explaining(self, child: Alert) -> Iterator[Alert]:
        """The firing alerts that explain `child` now."""
        for _, parent in self._of(child):
            if parent.state is AlertState.FIRING and self._ends_somewhere(parent, {child.id}):
                yield parent

    def _after_start(self, child: Alert) -> Mute | None:
        waits = [dependency.settle for dependency in self._dependencies if dependency.has_child(child.labels)]
        if self._began is None or not waits:
            return None
        until = self._began + timedelta(seconds=max(waits))
        if until <= self._now:
            return None
        return _mute("waits until what would explain it has been looked at since the start", until)

    def _of(self, child: Alert) -> Iterator[tuple[Dependency, Alert]]:
        for index, dependency in enumerate(self._dependencies):
            if dependency.has_child(child.labels):
                for parent in self._found.get((index, dependency.key(child.labels)), ()):
                    if parent.id != child.id and parent.severity.rank <= child.severity.rank:
                        yield dependency, parent

    def _ends_somewhere(self, alert: Alert, seen: set[str]) -> bool:
        """True when following parents from `alert` comes to one that waits for nothing: somebody is told."""
        if alert.id in seen:
            return False
        seen.add(alert.id)
        above = [parent for _, parent in self._of(alert) if parent.state is AlertState.FIRING]
        return not above or any(self._ends_somewhere(parent, seen) for parent in above)


def _mute(because: str, until: datetime | None = None) -> Mute:
    return Mute(reason=Reason.WAITS_FOR_PARENT, because=because, until=until, creation_only=True)


def _name(alert: Alert) -> str:
    return alert.name or alert.rule
