"""Rules: Prometheus rule files → alerts with states, and recorded series. Pure: `now` is an argument.

    groups = load_rules(expand(["alert_rules/*.yaml"]))                            load: every finding with its line
    result = evaluate_group(groups[0], rounds, alerts, blind, now, record=…)       evaluate: one step of the alerts
    gone = orphans(alerts, groups, now)                                            after a reload

Where to read: `rule` (what a file holds), `load` (files), `template` (Go's templates), `lifecycle` (pending, firing,
resolved, frozen), `blindness` (what a rule can't see), `removed` (what is configured no more), `evaluate` (a group),
`unit_tests` (promtool's test format).
"""

from tocsin.rules.evaluate import (
    NO_MEMORY,
    GroupMemory,
    GroupResult,
    ProblemKind,
    RuleProblem,
    abandoned,
    evaluate_group,
)
from tocsin.rules.load import expand, load_rules, load_text, repeated
from tocsin.rules.removed import NOTHING_REMOVED, AllRemoved, Removed, orphans
from tocsin.rules.rule import ALERTS, ALERTS_FOR_STATE, AlertRule, Group, RecordingRule, Rule

__all__ = [
    "ALERTS", "ALERTS_FOR_STATE", "NOTHING_REMOVED", "NO_MEMORY", "AlertRule", "AllRemoved", "Group", "GroupMemory",
    "GroupResult", "ProblemKind", "RecordingRule", "Removed", "Rule", "RuleProblem", "abandoned", "evaluate_group",
    "expand", "load_rules", "load_text", "orphans", "repeated",
]  # fmt: skip
