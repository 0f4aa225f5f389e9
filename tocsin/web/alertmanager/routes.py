"""The routes of /api/v2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tocsin.access.tokens import Scope
from tocsin.web.alertmanager.alerts import Alerts
from tocsin.web.alertmanager.silences import Silences
from tocsin.web.alertmanager.wording import answering
from tocsin.web.gate import Endpoint, GuardedRoute, Operation, protected
from tocsin.web.inside import Inside

_READ: Final = Scope.ALERTS_READ
_WRITE: Final = Scope.ALERTS_WRITE


def _schema(name: str, *, many: bool = False) -> Mapping[str, Any]:
    one = {"$ref": f"#/components/schemas/{name}"}
    return {"type": "array", "items": one} if many else one


_FILTER: Final[Mapping[str, Any]] = {
    "name": "filter", "in": "query", "description": "a matcher; may be repeated",
    "schema": {"type": "array", "items": {"type": "string"}},
}  # fmt: skip
_WHICH: Final[list[Mapping[str, Any]]] = [
    _FILTER,
    {"name": "receiver", "in": "query", "description": "a regular expression, anchored", "schema": {"type": "string"}},
    *(
        {"name": name, "in": "query", "schema": {"type": "boolean", "default": True}}
        for name in ("active", "silenced", "inhibited", "unprocessed")
    ),
]


def alertmanager_routes(inside: Inside) -> list[GuardedRoute]:
    """Every route of the API."""
    alerts, silences = Alerts(inside), Silences(inside)

    def route(
        method: str, path: str, endpoint: Endpoint, scope: Scope, summary: str, *,
        parameters: list[Mapping[str, Any]] | None = None, body: Mapping[str, Any] | None = None,
        gives: Mapping[str, Any] | None = None,
    ) -> GuardedRoute:  # fmt: skip
        operation = Operation(
            summary=summary, tag="Alertmanager API", parameters=parameters or [], body=body, answer=gives or {}
        )
        return protected(f"/api/v2/{path}", answering(endpoint), scope, operation=operation, methods=(method,))

    return [
        route("GET", "status", alerts.status, _READ, "Version and receivers"),
        route("GET", "receivers", alerts.receivers, _READ, "The notifiers"),
        route("GET", "alerts", alerts.list, _READ, "The alerts that fire", parameters=_WHICH,
              gives=_schema("Alert", many=True)),
        route("POST", "alerts", alerts.post, _WRITE, "Alerts that began, go on or ended",
              body=_schema("PostableAlert", many=True)),
        route("GET", "alerts/groups", alerts.groups, _READ, "The alerts that fire, as they are grouped",
              parameters=_WHICH),
        route("GET", "silences", silences.list, _READ, "Silences", parameters=[_FILTER],
              gives=_schema("Silence", many=True)),
        route("POST", "silences", silences.post, _WRITE, "A new or changed silence", body=_schema("PostableSilence"),
              gives={"type": "object", "properties": {"silenceID": {"type": "string"}}}),
        route("GET", "silence/{id}", silences.show, _READ, "One silence", gives=_schema("Silence")),
        route("DELETE", "silence/{id}", silences.expire, _WRITE, "End a silence now"),
    ]  # fmt: skip


_TEXTS: Final[Mapping[str, Any]] = {"type": "object", "additionalProperties": {"type": "string"}}
_TIME: Final[Mapping[str, Any]] = {"type": "string", "format": "date-time"}
_TEXT: Final[Mapping[str, Any]] = {"type": "string"}
_POSTABLE_ALERT: Final[Mapping[str, Any]] = {
    "labels": _TEXTS, "annotations": _TEXTS, "startsAt": _TIME, "endsAt": _TIME, "generatorURL": _TEXT,
}  # fmt: skip
_POSTABLE_SILENCE: Final[Mapping[str, Any]] = {
    "id": _TEXT,
    "matchers": {"type": "array", "items": _schema("Matcher")},
    "startsAt": _TIME,
    "endsAt": _TIME,
    "createdBy": _TEXT,
    "comment": _TEXT,
}
SCHEMAS: Final[Mapping[str, Any]] = {
    "Matcher": {
        "type": "object", "required": ["name", "value"],
        "properties": {
            "name": _TEXT, "value": _TEXT, "isRegex": {"type": "boolean", "default": False},
            "isEqual": {"type": "boolean", "default": True},
        },
    },
    "PostableAlert": {"type": "object", "required": ["labels"], "properties": _POSTABLE_ALERT},
    "Alert": {
        "type": "object",
        "properties": {**_POSTABLE_ALERT, "fingerprint": _TEXT, "updatedAt": _TIME, "status": {"type": "object"},
                       "receivers": {"type": "array", "items": {"type": "object"}}},
    },
    "PostableSilence": {
        "type": "object", "required": ["matchers", "startsAt", "endsAt", "createdBy", "comment"],
        "properties": _POSTABLE_SILENCE,
    },
    "Silence": {
        "type": "object",
        "properties": {**_POSTABLE_SILENCE, "updatedAt": _TIME, "status": {"type": "object"}},
    },
}  # fmt: skip
"""What /openapi.json says of bodies and answers."""
