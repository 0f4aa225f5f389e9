"""Which rules can be evaluated over many steps at once, and which need the results of the step before.

A rule that reads only collected samples, and what rules before it record, gives the same over an hour at once as step
by step. One that reads what it records itself, or a rule after it, sees the results of the step before: it goes step
by step, and so do the rules that it reads, and those that read it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from tocsin.incidents.matching import matches
from tocsin.model import METRIC_NAME
from tocsin.promql import Plan, Selector
from tocsin.promql.engine import LOOKBACK_MS
from tocsin.promql.syntax import Anchor, Duration, Node, Subquery, deepest, walk

from .rule import ALERTS, ALERTS_FOR_STATE, AlertRule, Group, Rule

LOOKBACK: Final = LOOKBACK_MS / 1000
_LABELS_ONLY: Final = re.compile(r"\{\{-?\s*(?:\$labels|\.Labels)\.[a-zA-Z_][a-zA-Z0-9_]*\s*-?\}\}")
_ASKS: Final = re.compile(r"\{\{[^}]*\bquery\b")


@dataclass(frozen=True, slots=True)
class Placed:
    """A rule and where it stands."""

    group: int
    rule: Rule
    offset: float
    """The group's `query_offset`."""


def placed(groups: Sequence[Group]) -> list[Placed]:
    """Every rule, in the order of evaluation."""
    return [Placed(number, rule, group.query_offset) for number, group in enumerate(groups) for rule in group.rules]


def stepwise(rules: Sequence[Placed], failed: Iterable[int] = ()) -> frozenset[int]:
    """The places of the rules that go step by step; `failed` are such ones for other reasons."""
    read = [[other for other, one in enumerate(rules) if reads(rule.rule.plan, one.rule)] for rule in rules]
    chosen = {*failed, *(place for place, rule in enumerate(rules) if _varies(rule.rule))}
    for place, others in enumerate(read):
        chosen.update(
            each for other in others if other >= place or _apart(rules[place], rules[other]) for each in (place, other)
        )
    while True:
        more = set()
        for place, others in enumerate(read):
            if place not in chosen and not chosen.isdisjoint(others):
                more.add(place)
            if place not in chosen and any(_share(rules[other].rule, rules[place].rule) for other in chosen):
                more.add(place)
            if place in chosen:
                more.update(other for other in others if other > place and other not in chosen)
        if not more:
            return frozenset(chosen)
        chosen |= more


def past_of(plan: Plan) -> float:
    """How far back an expression looks, in seconds; infinite where it names a time."""
    return deepest(plan.tree, _past) + LOOKBACK


def _past(node: Node) -> float:
    own = 0.0
    if isinstance(node, (Selector, Subquery)):
        durations = [each for each in (node.window, node.offset) if each is not None]
        if node.at is not None or not all(each.constant for each in durations):
            return inf
        own = sum(max(each.seconds(0, 0), 0.0) for each in durations)
        own += LOOKBACK if isinstance(node, Selector) and node.edges else 0.0
    return own


def offset_of(plan: Plan) -> float:
    """The greatest offset in an expression, in seconds: where less is kept, that part of it sees nothing, ever."""
    return deepest(plan.tree, _offset)


def _offset(node: Node) -> float:
    if isinstance(node, (Selector, Subquery)) and node.offset is not None and node.offset.constant:
        return max(node.offset.seconds(0, 0), 0.0)
    return 0.0


def singly(plan: Plan) -> bool:
    """True when the expression means something else in a range: `start()` and `end()`, durations by step or range."""
    for node in walk(plan.tree):
        if isinstance(node, (Selector, Subquery)):
            durations = (node.window, node.offset, node.step if isinstance(node, Subquery) else None)
            if isinstance(node.at, Anchor) or any(each is not None and not each.constant for each in durations):
                return True
    return False


def reads(plan: Plan, other: Rule) -> bool:
    """Whether an expression may read what another rule yields."""
    yields: tuple[Mapping[str, str], ...] = ({METRIC_NAME: other.name},)
    if isinstance(other, AlertRule):
        yields = tuple({METRIC_NAME: name, "alertname": other.name} for name in (ALERTS, ALERTS_FOR_STATE))
    return any(
        all(matches(matcher, series) for matcher in selector.matchers if matcher.name in series)
        for selector in plan.selectors
        for series in yields
    )


def _apart(reader: Placed, other: Placed) -> bool:
    """True when what `other` yields can't be there for many steps before `reader` looks at the first of them."""
    # An alert's own series are recorded step by step alone; the rest would show `reader` the future.
    return isinstance(other.rule, AlertRule) or other.offset > reader.offset or looks_ahead(reader.rule.plan)


def _share(one: Rule, other: Rule) -> bool:
    """Two rules of one metric: whoever comes first at a step has its say."""
    return one.name == other.name and not isinstance(one, AlertRule) and not isinstance(other, AlertRule)


def _varies(rule: Rule) -> bool:
    """True when a range does not show what each step gives: the labels depend on the value, the texts on queries."""
    if singly(rule.plan):
        return True
    if not isinstance(rule, AlertRule):
        return False
    return asks(rule) or any("{{" in _LABELS_ONLY.sub("", label.text) for label in rule.labels)


def asks(rule: Rule) -> bool:
    """True when a text of the rule asks a query of its own."""
    texts = (*rule.labels, *rule.annotations) if isinstance(rule, AlertRule) else ()
    return any(_ASKS.search(text.text) for text in texts)


def looks_ahead(plan: Plan) -> bool:
    """True for `@` and offsets into the future: what is recorded ahead would be seen too early."""
    return any(
        node.at is not None or (node.offset is not None and not _back(node.offset))
        for node in walk(plan.tree)
        if isinstance(node, (Selector, Subquery))
    ) or any(isinstance(node, Selector) and node.edges == "smoothed" for node in walk(plan.tree))


def _back(offset: Duration) -> bool:
    return offset.constant and offset.seconds(0, 0) >= 0
