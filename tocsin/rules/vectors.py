"""From the value of an expression to a rule's alerts or samples."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from tocsin.errors import EvaluationError, TocsinError
from tocsin.model import METRIC_NAME, NO_LABELS, Alert, AlertState, Labels, Sample, utc
from tocsin.promql import Plan, Result, Scalar, Vector, compile_expr

from .lifecycle import Found
from .rule import AlertRule, RecordingRule, Templated
from .template import AlertData, ExecutionFailed, Query

if TYPE_CHECKING:
    from .evaluate import Round


class Unknown(TocsinError):
    """The rule gave no usable result."""


def pairs(value: Result) -> list[tuple[Labels, float]]:
    """(labels with `__name__`, value) of a vector or scalar. Raises Unknown where that is no number."""
    if isinstance(value, Scalar):
        return [(NO_LABELS, value.value)]
    if isinstance(value, Vector):
        try:
            return list(value)
        except EvaluationError as error:
            raise Unknown(str(error)) from None
    raise Unknown("rule result is not a vector or scalar")


@lru_cache(maxsize=512)
def _compiled(text: str) -> Plan:
    return compile_expr(text)


def query(text: str, round_: Round) -> list[tuple[Labels, float]]:
    """A template's `query`. Raises TocsinError."""
    try:
        return pairs(round_.evaluate(_compiled(text)))
    except Unknown as unknown:
        raise EvaluationError(str(unknown)) from unknown


def alerts_found(
    rule: AlertRule,
    value: Result,
    *,
    external_labels: Mapping[str, str],
    external_url: str,
    at: datetime,
    query: Query,
) -> tuple[dict[str, Found], str]:
    """(by alert id what the result says, the first template failure). Raises Unknown.

    An alert's labels are those of the result without the metric's name, then the rule's, then alertname.
    """
    found: dict[str, Found] = {}
    broken = ""
    for labels, number in pairs(value):
        data = AlertData(
            labels=labels,
            value=number,
            external_labels=external_labels,
            external_url=external_url,
            at=at,
            query=query,
        )
        one, failure = alert_found(rule, labels, data)
        broken = broken or failure
        id = alert_id(rule, one.labels)
        if id in found:
            raise Unknown("vector contains metrics with the same labelset after applying alert labels")
        found[id] = one
    return found, broken


def alert_found(rule: AlertRule, labels: Labels, data: AlertData) -> tuple[Found, str]:
    """(what one series of the result says, the first template failure)."""
    own, failure = _rendered(rule.labels, data)
    own["alertname"] = rule.name
    notes, other = _rendered(rule.annotations, data)
    mine = labels.without(METRIC_NAME).with_(own)
    return Found(mine, Labels(notes), data.value), failure or other


def alert_id(rule: AlertRule, labels: Labels) -> str:
    """The id that an alert of `rule` with `labels` has."""
    return Alert(rule=rule.id, labels=labels, state=AlertState.PENDING, value=0.0, active_at=utc(0)).id


def _rendered(templates: tuple[Templated, ...], data: AlertData) -> tuple[dict[str, str], str]:
    """(name → text, the first failure). A text that fails holds the message, as Prometheus writes it."""
    texts: dict[str, str] = {}
    broken = ""
    for templated in templates:
        try:
            texts[templated.name] = templated.template.execute(data)
        except ExecutionFailed as failed:
            texts[templated.name] = f"<error expanding template: {failed}>"
            broken = broken or f"{templated.name}: {failed}"
    return texts, broken


def recorded(rule: RecordingRule, value: Result, at: datetime) -> list[Sample]:
    """The samples that a recording rule stores. Raises Unknown."""
    own = dict(rule.labels)
    samples: dict[Labels, Sample] = {}
    for labels, number in pairs(value):
        mine = labels.without(METRIC_NAME).with_(own)
        if mine in samples:
            raise Unknown("vector contains metrics with the same labelset after applying rule labels")
        samples[mine] = Sample(name=rule.name, labels=mine, value=number, at=at)
    return list(samples.values())
