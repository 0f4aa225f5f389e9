"""rules and alerts: the rules in force, what became of their last evaluation, and their alerts.

Source: prometheus/web/api/v1/api.go, RuleDiscovery, AlertingRule, Alert. Value of an alert: as Go's %e.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from tocsin.incidents.matching import all_match
from tocsin.model import Alert, Labels, Matcher
from tocsin.rules import Group, ProblemKind, Rule
from tocsin.rules.rule import AlertRule, RecordingRule
from tocsin.runtime.evaluation import DEFAULT_INTERVAL, RuleBook
from tocsin.web.form import Form, form_of
from tocsin.web.inside import Inside
from tocsin.web.prometheus.answers import ApiError, success
from tocsin.web.prometheus.encoding import rfc3339
from tocsin.web.prometheus.parameters import matcher_sets, names_of

_NEVER: Final = "0001-01-01T00:00:00Z"
_ORDER: Final = {"inactive": 0, "pending": 1, "firing": 2}


@dataclass(frozen=True)
class Wanted:
    """Which rules are asked for."""

    kind: str
    """`alert`, `record` or empty for both."""
    rules: frozenset[str] | None
    groups: frozenset[str] | None
    files: frozenset[str] | None
    matchers: Sequence[Sequence[Matcher]]
    alerts: bool

    @classmethod
    def of(cls, form: Form) -> Wanted:
        """Raises ApiError."""
        kind = form.one("type").lower()
        if kind not in ("", "alert", "record"):
            raise ApiError("bad_data", f'invalid parameter "type": not supported value "{kind}"')
        without = form.one("exclude_alerts").lower()
        if without not in ("", "true", "false", "1", "0", "t", "f"):
            raise ApiError("bad_data", f'invalid parameter "exclude_alerts": "{without}" is neither true nor false')
        return cls(
            kind, names_of(form, "rule_name[]"), names_of(form, "rule_group[]"), names_of(form, "file[]"),
            matcher_sets(form), without not in ("true", "1", "t"),
        )  # fmt: skip

    def takes(self, rule: Rule) -> bool:
        """True when the rule is asked for."""
        kind = "alert" if isinstance(rule, AlertRule) else "record"
        if self.kind not in ("", kind) or (self.rules is not None and rule.name not in self.rules):
            return False
        return not self.matchers or any(all_match(each, _labels(rule)) for each in self.matchers)

    def takes_group(self, group: Group) -> bool:
        """True when rules of the group may be asked for."""
        return (self.groups is None or group.name in self.groups) and (self.files is None or group.file in self.files)


@dataclass(frozen=True)
class Rules:
    """The endpoints over the rule book."""

    inside: Inside

    async def rules(self, request: Request) -> Response:
        """Every group with its rules."""
        wanted = Wanted.of(await form_of(request))
        book = self.inside.pipeline.rules
        groups = [_group(book, group, wanted) for group in book.groups if wanted.takes_group(group)]
        shown = [group for group in groups if group["rules"] or not (wanted.kind or wanted.rules or wanted.matchers)]
        return success(request, {"groups": shown})

    async def alerts(self, request: Request) -> Response:
        """Every alert that is pending or firing."""
        found = self.inside.pipeline.rules.all_alerts().values()
        return success(request, {"alerts": [alert_document(alert) for alert in found]})


def _labels(rule: Rule) -> Labels:
    if isinstance(rule, AlertRule):
        return Labels({each.name: each.text for each in rule.labels})
    return Labels(dict(rule.labels))


def _group(book: RuleBook, group: Group, wanted: Wanted) -> dict[str, Any]:
    interval = group.interval if group.interval is not None else DEFAULT_INTERVAL
    ran = book.last_run(group)
    told = {
        "evaluationTime": round(ran.took, 9) if ran is not None else 0,
        "lastEvaluation": rfc3339(ran.at) if ran is not None else _NEVER,
    }
    failed = {problem.rule: problem.what for problem in book.problems.get(group.key, ()) if _is_failure(problem.kind)}
    by_rule: dict[str, list[Alert]] = {}
    for alert in book.alerts[group.key].values():
        by_rule.setdefault(alert.rule, []).append(alert)
    return {
        "name": group.name,
        "file": group.file,
        "rules": [
            _rule(rule, by_rule.get(rule.id, []), failed, told, wanted) for rule in group.rules if wanted.takes(rule)
        ],
        "interval": int(interval) if interval == int(interval) else interval,
        "limit": group.limit,
        **told,
    }


def _is_failure(kind: ProblemKind) -> bool:
    return kind in (ProblemKind.FAILED, ProblemKind.STORE)


def _rule(
    rule: Rule, alerts: list[Alert], failed: Mapping[str, str], told: Mapping[str, Any], wanted: Wanted
) -> dict[str, Any]:
    known = bool(told["evaluationTime"]) or told["lastEvaluation"] != _NEVER
    health: dict[str, Any] = {"health": "err" if rule.id in failed else "ok" if known else "unknown"}
    if rule.id in failed:
        health["lastError"] = failed[rule.id]
    elif not known:
        health["lastError"] = "not evaluated yet"
    if isinstance(rule, RecordingRule):
        document: dict[str, Any] = {"name": rule.name, "query": rule.plan.text}
        if rule.labels:
            document["labels"] = dict(_labels(rule))
        return {**document, **health, **told, "type": "recording"}
    state = max((alert.state.value for alert in alerts), key=_ORDER.__getitem__, default="inactive")
    return {
        "state": state,
        "name": rule.name,
        "query": rule.plan.text,
        "duration": _seconds(rule.hold),
        "keepFiringFor": _seconds(rule.keep_firing),
        "labels": dict(_labels(rule)),
        "annotations": {each.name: each.text for each in rule.annotations},
        "alerts": [alert_document(alert) for alert in alerts] if wanted.alerts else [],
        **health,
        **told,
        "type": "alerting",
    }


def alert_document(alert: Alert) -> dict[str, Any]:
    """An alert, as Prometheus tells it."""
    document: dict[str, Any] = {
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "state": alert.state.value,
        "activeAt": rfc3339(alert.active_at),
    }
    if alert.keep_firing_since is not None:
        document["keepFiringSince"] = rfc3339(alert.keep_firing_since)
    return {**document, "value": exponent(alert.value)}


def exponent(value: float) -> str:
    """`1e+00`, `1.5e-07`: the shortest digits that read back, always with an exponent."""
    text = repr(value)
    if text in ("inf", "-inf", "nan"):
        return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}[text]
    sign, digits, _ = Decimal(text).normalize().as_tuple()
    power = Decimal(text).adjusted() if value else 0
    mantissa = str(digits[0]) + ("." + "".join(map(str, digits[1:])) if len(digits) > 1 else "")
    return f"{'-' if sign else ''}{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"


def _seconds(seconds: float) -> float:
    return int(seconds) if seconds == int(seconds) else seconds
