"""A unit test's rules in strides of many evaluations: the same alerts and records as step by step, much sooner.

What `strides` shows of a backtest holds for a test too, as long as nobody could tell that samples are stored ahead of
the evaluation that is being made. `in_strides` is None where somebody could: such a test runs step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import numpy as np

from tocsin.errors import PromQLError
from tocsin.model import STALE, Labels, Matcher, Sample, Seconds, utc
from tocsin.promql import Dictionary, Panel, Plan, Storage, compile_expr
from tocsin.promql.storage import Bools, Floats, Millis

from ..entangled import asks, looks_ahead, reads
from ..rule import AlertRule, Group, Rule
from ..strides import Strides
from .cases import UnitTest


class Ground:
    """A test's store, as strides write to it. Nothing is forgotten: expressions are asked when all rules have run."""

    def __init__(self, store: Storage, append: Callable[[Iterable[Sample]], int]) -> None:
        self._store = store
        self.append = append

    @property
    def dictionary(self) -> Dictionary:
        """The store's."""
        return self._store.dictionary

    def select(self, matchers: Sequence[Matcher], after: int, until: int) -> Sequence[Panel]:
        """As the store's."""
        return self._store.select(matchers, after, until)

    def record(self, metric: str, labels: Sequence[Labels], times: Millis, values: Floats, present: Bools) -> None:
        """Record many steps at once; a series that is no longer present gets a staleness marker."""
        ended = np.zeros_like(present)
        ended[1:] = present[:-1] & ~present[1:]
        written = np.where(ended, STALE, values)
        for row, column in np.argwhere(present | ended).tolist():
            at, value = utc(times[row] / 1000), float(written[row, column])
            self.append([Sample(name=metric, labels=labels[column], value=value, at=at)])

    def forget(self, until: datetime) -> None:
        """Nothing."""


def in_strides(test: UnitTest, interval: Seconds, groups: Sequence[Group], ground: Ground) -> Strides | None:
    """The test's rules at its start; None where they have to go step by step."""
    rules = [rule for group in groups for rule in group.rules]
    # What is collected under the name of what is recorded: which of two samples is taken depends on the order.
    if any(series.histogram for series in test.series):
        return None
    shared = {series.name for series in test.series} & {name for group in groups for name in group.yields}
    if shared or len({rule.id for rule in rules}) < len(rules) or any(_sees_ahead(rule) for rule in rules):
        return None
    asked = _plans(test)
    apart = {
        rule.id
        for group in groups
        for rule in group.rules
        # A limit is looked at step by step, and so is recorded what expressions read of ALERTS.
        if group.limit or (isinstance(rule, AlertRule) and any(reads(plan, rule) for plan in asked))
    }
    return Strides(
        groups, ground, interval, external_labels=test.external_labels, external_url=test.external_url,
        apart=frozenset(apart), subquery_step=interval,
    )  # fmt: skip


def _sees_ahead(rule: Rule) -> bool:
    return looks_ahead(rule.plan) or asks(rule)


def _plans(test: UnitTest) -> list[Plan]:
    plans = []
    for case in test.expressions:
        try:
            plans.append(compile_expr(case.expr))
        except PromQLError:
            continue  # the case itself says so
    return plans
