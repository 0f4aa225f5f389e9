"""What is not configured any more: sources and their targets, and rules. Alerts about it end for that reason.

They did not recover: nobody looks any more. A source that is taken out leaves samples behind, which windows read for
hours, so alerts about it don't begin anew either.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tocsin.model import Alert, AlertState, Labels, Transition

from .lifecycle import ended
from .rule import Group


@dataclass(frozen=True, kw_only=True, slots=True)
class Removed:
    """A source that was taken out of the configuration, or one of its targets."""

    labels: Labels
    """What its series carry: `job`, the collector's name, and of one target of several the label that names it."""
    at: datetime

    @property
    def why(self) -> str:
        """For whoever was told that something is wrong with it."""
        job = self.labels.get("job", "")
        target = " ".join(value for name, value in self.labels.items() if name != "job")
        return f"{f'{target} of {job}' if target else job} is no longer configured"


class AllRemoved:
    """Those that are removed, found by the labels of an alert or series. There may be a thousand."""

    def __init__(self, removed: Iterable[Removed] = ()) -> None:
        self._by: dict[tuple[str, ...], dict[tuple[str | None, ...], Removed]] = {}
        for each in sorted(removed, key=lambda each: len(each.labels)):  # a whole source before its targets
            self._by.setdefault(tuple(each.labels), {})[tuple(each.labels.values())] = each

    def of(self, labels: Labels) -> Removed | None:
        """What these labels prove to be about; None: it is configured, or they don't say."""
        for names, those in self._by.items():
            found = those.get(tuple(labels.get(name) for name in names))
            if found is not None:
                return found
        return None

    def __bool__(self) -> bool:
        return bool(self._by)


NOTHING_REMOVED: Final = AllRemoved()


def orphans(alerts: Mapping[str, Alert], groups: Sequence[Group], now: datetime) -> tuple[Transition, ...]:
    """The ends of the alerts whose rule is gone: after a reload, whoever was told of them is told that."""
    rules = {rule.id for group in groups for rule in group.rules}
    return tuple(
        Transition(
            alert=ended(alert, now),
            before=alert.state,
            at=now,
            why=f"its rule {alert.name!r} was removed or its labels were changed",
        )
        for alert in alerts.values()
        if alert.rule not in rules and alert.state is not AlertState.RESOLVED
    )
