"""The routes of /api/v1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tocsin.access.tokens import Scope
from tocsin.web.gate import Endpoint, GuardedRoute, Operation, protected
from tocsin.web.inside import Inside
from tocsin.web.prometheus.answers import answering
from tocsin.web.prometheus.catalogue import Catalogue
from tocsin.web.prometheus.forwarding import forwarded
from tocsin.web.prometheus.queries import Queries
from tocsin.web.prometheus.rules import Rules

_GET: Final = ("GET",)
_BOTH: Final = ("GET", "POST")
_TEXTS: Final = {
    "query": "a PromQL expression",
    "time": "RFC 3339 or Unix seconds; default: now",
    "start": "RFC 3339 or Unix seconds",
    "end": "RFC 3339 or Unix seconds",
    "step": "a duration (15s) or seconds",
    "timeout": "a duration; lowers the server's limit",
    "limit": "at most so many entries; 0: all",
    "lookback_delta": "how old a sample may be and still count as current",
    "match[]": "a series selector; may be repeated",
    "metric": "only this metric",
    "limit_per_metric": "at most so many entries of each metric",
    "type": "alert or record",
    "rule_name[]": "only rules of this name; may be repeated",
    "rule_group[]": "only groups of this name; may be repeated",
    "file[]": "only groups of this file; may be repeated",
    "exclude_alerts": "true leaves out the alerts of each rule",
}


def _parameters(*names: str, required: tuple[str, ...] = ()) -> list[Mapping[str, Any]]:
    return [_parameter(name, name in required) for name in (*required, *names)]


def _parameter(name: str, required: bool) -> Mapping[str, Any]:
    kind: Mapping[str, Any] = {"type": "integer", "minimum": 0} if name.startswith("limit") else {"type": "string"}
    schema = {"type": "array", "items": kind} if name.endswith("[]") else kind
    return {"name": name, "in": "query", "required": required, "description": _TEXTS[name], "schema": schema}


def prometheus_routes(inside: Inside) -> list[GuardedRoute]:
    """Every route of the API."""
    queries, catalogue, rules = Queries(inside), Catalogue(inside), Rules(inside)
    metrics = (Scope.QUERY_READ,)
    alerts = (Scope.ALERTS_READ, Scope.QUERY_READ)

    def route(
        path: str, endpoint: Endpoint, scopes: tuple[Scope, ...], methods: tuple[str, ...], summary: str,
        parameters: list[Mapping[str, Any]] | None = None,
    ) -> GuardedRoute:  # fmt: skip
        operation = Operation(
            summary=summary, tag="Prometheus API", parameters=parameters or [], answer={"$ref": _ANSWER}
        )
        asked = endpoint if scopes is alerts else forwarded(inside, endpoint)
        return protected(f"/api/v1/{path}", answering(asked), *scopes, operation=operation, methods=methods)

    span = ("start", "end", "match[]", "limit")
    return [
        route("query", queries.query, metrics, _BOTH, "An expression at one instant",
              _parameters("time", "timeout", "limit", "lookback_delta", required=("query",))),
        route("query_range", queries.query_range, metrics, _BOTH, "An expression over a span of time",
              _parameters("timeout", "limit", "lookback_delta", required=("query", "start", "end", "step"))),
        route("query_exemplars", queries.exemplars, metrics, _BOTH, "Exemplars: none are kept",
              _parameters(required=("query", "start", "end"))),
        route("series", catalogue.series, metrics, _BOTH, "The series that match",
              _parameters("start", "end", "limit", required=("match[]",))),
        route("labels", catalogue.labels, metrics, _BOTH, "The names of labels", _parameters(*span)),
        route("label/{name}/values", catalogue.values, metrics, _GET, "The values of a label", _parameters(*span)),
        route("metadata", catalogue.metadata, metrics, _GET, "Type and help of metrics",
              _parameters("metric", "limit", "limit_per_metric")),
        route("status/buildinfo", catalogue.buildinfo, metrics, _GET, "Which version of the API this is"),
        route("rules", rules.rules, alerts, _GET, "The rules and their state",
              _parameters("type", "rule_name[]", "rule_group[]", "file[]", "match[]", "exclude_alerts")),
        route("alerts", rules.alerts, alerts, _GET, "The alerts of rules that are pending or firing"),
    ]  # fmt: skip


_ANSWER: Final = "#/components/schemas/PrometheusAnswer"
SCHEMAS: Final[Mapping[str, Any]] = {
    "PrometheusAnswer": {
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {"enum": ["success", "error"]},
            "data": {},
            "errorType": {"type": "string"},
            "error": {"type": "string"},
            "warnings": {"type": "array", "items": {"type": "string"}},
            "infos": {"type": "array", "items": {"type": "string"}},
        },
    }
}
"""What /openapi.json says of the answers."""
