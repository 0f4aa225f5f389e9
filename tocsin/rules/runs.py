"""One alert over many steps: the state machine of `lifecycle`, asked only where its answer can change.

Between two such steps nothing happens: what is seen goes on being seen, what is missing goes on missing. They are where
a run of presence begins and ends, where `for` has elapsed and where `keep_firing_for` has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from tocsin.model import Alert, AlertState, Labels, Transition
from tocsin.promql.storage import Bools

from .lifecycle import Found, advance
from .rule import AlertRule


class _NoDoubt:
    """Everything is seen."""

    def absence(self, alert: Alert) -> str:
        return ""

    def presence(self, alert: Alert) -> str:
        return ""

    def removal(self, labels: Labels) -> str:
        return ""


_CLEAR = _NoDoubt()


@dataclass
class Walk:
    """One alert on its way over the steps."""

    rule: AlertRule
    id: str
    times: Sequence[datetime]
    found: Callable[[int], Found]
    """What is seen at a step, given its number."""
    alert: Alert | None
    """Pending or firing; None: there is none."""

    def over(self, present: Bools) -> list[tuple[int, Transition]]:
        """Step by step through `present` [steps]: what changed, and at which step."""
        self._changes: list[tuple[int, Transition]] = []
        at = 0
        edges = np.flatnonzero(np.diff(np.concatenate([[False], present, [False]]).astype(np.int8)))
        for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            self._missing(at, first)
            self._seen(first, end)
            at = end
        self._missing(at, len(present))
        return self._changes

    def _seen(self, first: int, end: int) -> None:
        """Seen from `first` to before `end`."""
        self._step(first, True)
        if (alert := self._now()) is not None and alert.state is AlertState.PENDING:
            self._until(first + 1, end, alert.active_at + timedelta(seconds=self.rule.hold), True)
        # As it was seen last: its value and texts stay with it.
        self._step(end - 1, True)

    def _missing(self, first: int, end: int) -> None:
        if self.alert is None or first >= end:
            return
        self._step(first, False)
        if (alert := self._now()) is not None and alert.keep_firing_since is not None:
            self._until(first + 1, end, alert.keep_firing_since + timedelta(seconds=self.rule.keep_firing), False)

    def _now(self) -> Alert | None:
        """The alert as the last step left it."""
        return self.alert

    def _until(self, first: int, end: int, due: datetime, seen: bool) -> None:
        """The first step at or after `due`."""
        low, high = first, end
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.times[middle] < due else (low, middle)
        if low < end:
            self._step(low, seen)

    def _step(self, number: int, seen: bool) -> None:
        before = {} if self.alert is None else {self.id: self.alert}
        step = advance(self.rule, before, {self.id: self.found(number)} if seen else {}, _CLEAR, self.times[number])
        self.alert = step.alerts.get(self.id)
        self._changes += [(number, change) for change in step.transitions]
