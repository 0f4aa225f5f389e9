"""What a rule file holds, once read: groups of rules with their expressions planned and their templates compiled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from tocsin.model import Seconds
from tocsin.promql import Plan

from .template import Template

ALERTS: Final = "ALERTS"
"""The series of the active alerts: value 1, label alertstate."""
ALERTS_FOR_STATE: Final = "ALERTS_FOR_STATE"
"""Since when each active alert's condition holds, in Unix seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Templated:
    """A label or annotation: its value is a template. An empty label removes the one of the result."""

    name: str
    template: Template

    @property
    def text(self) -> str:
        """The value as it is written."""
        return self.template.text


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertRule:
    """A rule that makes one alert of every series of its expression."""

    id: str
    """See `rule_id`."""
    name: str
    """The label `alertname` of its alerts."""
    plan: Plan
    hold: Seconds = 0.0
    """`for`: how long the condition lasts before the alert fires."""
    keep_firing: Seconds = 0.0
    """`keep_firing_for`: how long an alert goes on firing after its condition ended."""
    labels: tuple[Templated, ...] = ()
    """The group's and its own, by name."""
    annotations: tuple[Templated, ...] = ()
    file: str = ""
    line: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingRule:
    """A rule that stores the result of its expression under a name of its own."""

    id: str
    """See `rule_id`."""
    name: str
    """The metric that it yields."""
    plan: Plan
    labels: tuple[tuple[str, str], ...] = ()
    """The group's and its own, by name; an empty one removes that of the result."""
    file: str = ""
    line: int = 0


Rule: TypeAlias = AlertRule | RecordingRule


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Rules that are evaluated together, in order, at one time."""

    name: str
    rules: tuple[Rule, ...]
    interval: Seconds | None = None
    """None: the default of whoever evaluates."""
    limit: int = 0
    """The most alerts or series of one rule; 0 is no limit."""
    query_offset: Seconds = 0.0
    """Evaluate as of that long ago, for sources whose samples come late."""
    file: str = ""
    line: int = 0

    @property
    def key(self) -> str:
        """`file;name`: a name may be used in several files."""
        return f"{self.file};{self.name}"

    @property
    def reads(self) -> frozenset[str] | None:
        """The metrics whose arrival is a reason to evaluate: all that its rules read, less those that it yields.

        None: it may read any.
        """
        names: set[str] = set()
        for rule in self.rules:
            if rule.plan.reads is None:
                return None
            names |= rule.plan.reads
        return frozenset(names - self.yields)

    @property
    def yields(self) -> frozenset[str]:
        """The metrics that it stores."""
        names = {rule.name for rule in self.rules if isinstance(rule, RecordingRule)}
        if any(isinstance(rule, AlertRule) for rule in self.rules):
            names |= {ALERTS, ALERTS_FOR_STATE}
        return frozenset(names)


def rule_id(group: str, name: str, labels: Mapping[str, str], twin: int = 1) -> str:
    """Which rule of which group: `group;name`, or `group;name;1f6a09c2` for a rule with labels.

    The digits stand for the labels as written, templates included, so that two rules of one name (severity P1 at 80 %,
    P0 at 95 %) are two. They don't stand for the expression: a threshold that is tuned keeps its alerts, and its
    incidents, across a reload. A changed label makes another rule, as it makes other alerts anyway. Rules that agree
    in group, name and labels are told apart by their order: `…;2` for the second.
    """
    text = "\xff".join(f"{label}\xfe{value}" for label, value in sorted(labels.items()))
    parts = [group, name]
    if labels:
        parts.append(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest())
    if twin > 1:
        parts.append(str(twin))
    return ";".join(parts)
