"""What a rule can't see, and which of its alerts that concerns. Unknown is not OK.

A `BlindSpot` hides series. A rule is blind where one of its selectors may miss them; it then proves nothing about an
alert that its result lacks. Two things narrow that down, so that one target that can't be reached does not freeze the
alerts of the others: a selector that asks for other labels than the hidden series have, and an alert whose labels say
that it is about something else. The second is only believed where the expression hands labels through: not after
label_replace and the like, and not for labels that the rule sets itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Final

from tocsin.model import METRIC_NAME, NO_LABELS, Alert, BlindSpot, Labels, MatchOp
from tocsin.promql import Plan, Selector
from tocsin.promql.syntax import Node, Subquery, deepest

from .rule import RecordingRule, Rule

_RELABELS: Final = re.compile(r"\b(?:label_replace|label_join|count_values|info|group_left|group_right)\b")


@dataclass(frozen=True, slots=True)
class View:
    """How a rule sees its inputs at one evaluation."""

    rule: Rule
    spots: tuple[BlindSpot, ...]
    """Those that hide something that the rule reads."""

    def unseen(self, alert: Alert) -> BlindSpot | None:
        """A spot that may hide what `alert` is about; None: its absence is a fact."""
        labels = self._proven(alert.labels)
        return next((spot for spot in self.spots if spot.may_concern(labels)), None)

    def echo(self, alert: Alert) -> BlindSpot | None:
        """A spot, where everything that `alert` can be about is hidden: its presence is an echo of the last look."""
        labels = self._proven(alert.labels)
        spots = [spot for spot in self.spots if spot.may_concern(labels)]
        selectors = self.rule.plan.selectors
        if not spots or not all(any(_hides(spot, selector) for spot in spots) for selector in selectors):
            return None
        return spots[0]

    def inherited(self) -> tuple[BlindSpot, ...]:
        """The same spots over the series that a recording rule makes of them."""
        name = self.rule.name
        return tuple(
            replace(
                spot,
                metrics=frozenset({name}),
                labels=self._proven(spot.labels),
                why=f"{spot.why} (read by the recording rule {name})",
            )
            for spot in self.spots
        )

    def _proven(self, labels: Labels) -> Labels:
        """The labels that come unchanged from the series read."""
        if _RELABELS.search(self.rule.plan.text):
            return NO_LABELS
        return labels.without("alertname", *own_labels(self.rule))


def own_labels(rule: Rule) -> tuple[str, ...]:
    """The names of the labels that the rule sets."""
    if isinstance(rule, RecordingRule):
        return tuple(name for name, _ in rule.labels)
    return tuple(label.name for label in rule.labels)


def view(rule: Rule, blind: Sequence[BlindSpot]) -> View:
    """What of `blind` concerns `rule`."""
    selectors = rule.plan.selectors
    return View(rule, tuple(spot for spot in blind if any(_hides(spot, selector) for selector in selectors)))


def failed(rule: RecordingRule, why: str, now: datetime) -> BlindSpot:
    """A recording rule that gave no result hides the series that it makes."""
    return BlindSpot(
        source=rule.id, why=f"the recording rule {rule.name} failed: {why}", since=now, metrics=frozenset({rule.name})
    )


def _hides(spot: BlindSpot, selector: Selector) -> bool:
    return spot.hides(selector.name) and not any(
        _excludes(matcher.op, matcher.value, spot.labels[matcher.name])
        for matcher in selector.matchers
        if matcher.name != METRIC_NAME and matcher.name in spot.labels
    )


def _excludes(op: MatchOp, wanted: str, hidden: str) -> bool:
    """True when a matcher can't match the hidden series. Patterns are given the benefit of the doubt."""
    return (op is MatchOp.EQUAL and wanted != hidden) or (op is MatchOp.NOT_EQUAL and wanted == hidden)


@lru_cache(maxsize=4096)
def reach(plan: Plan) -> float:
    """The longest window of an expression in seconds, subqueries included: how much past its result is made of."""
    return deepest(plan.tree, _window)


def _window(node: Node) -> float:
    if isinstance(node, (Selector, Subquery)) and node.window is not None and node.window.constant:
        return max(node.window.seconds(0, 0), 0.0)
    return 0.0
