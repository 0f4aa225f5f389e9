"""Tocsin's own API on /api/tocsin/v1: incidents, to be listed, read, acknowledged and closed.

    GET  incidents?state=open|all&limit=50     the newest first
    GET  incidents/ID                          with what was decided and why, and what was said where
    POST incidents/ID/ack      {"by": "ana"}
    POST incidents/ID/resolve  {"by": "ana", "why": "rolled back"}

Without `by`, the token's note says who. What is done is durable when it is answered. Errors are RFC 9457 problems.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tocsin.access.tokens import Scope
from tocsin.model import Alert, Incident
from tocsin.state.history import Story
from tocsin.state.inbox import Ack, Refusal, Resolve
from tocsin.web.form import form_of, object_of
from tocsin.web.gate import GuardedRoute, Operation, protected, shown_token
from tocsin.web.inside import Inside
from tocsin.web.streaming import Body, respond

_MOST: Final = 1000
_LONGEST: Final = 2000
"""Characters of a name or a reason."""


def _answer(request: Request, value: Any) -> Response:
    raw = orjson.dumps(value, option=orjson.OPT_UTC_Z)
    return respond(request, Body.begun(iter((raw,))))


@dataclass(frozen=True)
class Incidents:
    """The endpoints."""

    inside: Inside

    async def list(self, request: Request) -> Response:
        """The newest first."""
        form = await form_of(request)
        state, limit = form.one("state", "open"), form.one("limit", "50")
        if state not in ("open", "all"):
            raise HTTPException(400, f"state is open or all, not {state!r}")
        if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit) <= _MOST:
            raise HTTPException(400, f"limit is a number from 1 to {_MOST}, not {limit!r}")
        found = await self.inside.state.history.incidents(open_only=state == "open", limit=int(limit))
        return _answer(request, {"incidents": [incident_json(each) for each in found]})

    async def show(self, request: Request) -> Response:
        """One, with its story."""
        return _answer(request, await self._story(request.path_params["id"]))

    async def _story(self, id: str) -> Mapping[str, Any]:
        story = await self.inside.state.history.story(id)
        if story is None:
            raise HTTPException(404, f"there is no incident {id}")
        return story_json(story)

    async def ack(self, request: Request) -> Response:
        """Somebody takes it: no reminders, no escalation."""
        by, _ = await _said(request)
        return await self._do(request, Ack(incident=request.path_params["id"], by=by))

    async def resolve(self, request: Request) -> Response:
        """Somebody closes it, whatever its alerts do."""
        by, why = await _said(request)
        return await self._do(request, Resolve(incident=request.path_params["id"], by=by, why=why))

    async def _do(self, request: Request, wanted: Ack | Resolve) -> Response:
        try:
            said = await self.inside.errands.do(wanted)
        except Refusal:
            if await self.inside.state.history.story(wanted.incident) is None:
                raise HTTPException(404, f"there is no incident {wanted.incident}") from None
            raise HTTPException(409, f"{wanted.incident} ended long ago") from None
        return _answer(request, {"said": said, "incident": await self._story(wanted.incident)})


async def _said(request: Request) -> tuple[str, str]:
    """(by, why). Raises HTTPException."""
    body = await object_of(request)
    token = shown_token(request)
    texts = [body.get("by") or token.note or f"token {token.id}", body.get("why") or ""]
    if unknown := sorted(set(body) - {"by", "why"}):
        raise HTTPException(400, f"{unknown[0]!r} is not known here; there are `by` and `why`")
    if not all(isinstance(text, str) and len(text) <= _LONGEST for text in texts):
        raise HTTPException(400, f"by and why are texts of at most {_LONGEST} characters")
    return texts[0], texts[1]


def alert_json(alert: Alert) -> dict[str, Any]:
    """A member, for programs."""
    return {
        "id": alert.id, "rule": alert.rule, "state": alert.state.value, "severity": alert.severity.value,
        "labels": dict(alert.labels), "annotations": dict(alert.annotations), "value": alert.value,
        "active_at": alert.active_at, "fired_at": alert.fired_at, "resolved_at": alert.resolved_at,
        "frozen_since": alert.frozen_since, "frozen_why": alert.frozen_why,
    }  # fmt: skip


def incident_json(incident: Incident) -> dict[str, Any]:
    """An incident, for programs. The names are those of `tocsin incidents --json`."""
    return {
        "id": incident.id, "severity": incident.severity.value, "state": incident.state.value, "route": incident.route,
        "group": dict(incident.group), "opened_at": incident.opened_at, "acked_at": incident.acked_at,
        "acked_by": incident.acked_by, "resolved_at": incident.resolved_at, "resolved_why": incident.resolved_why,
        "reopened": incident.reopened, "peak": incident.peak,
        "alerts": [alert_json(alert) for alert in incident.members],
    }  # fmt: skip


def story_json(story: Story) -> dict[str, Any]:
    """An incident with what was decided and said."""
    return {
        **incident_json(story.incident),
        "decisions": [
            {
                "at": each.at, "notifier": each.notifier, "action": each.decision.action.value,
                "reason": each.decision.reason.value, "because": each.decision.because,
            }
            for each in story.decisions
        ],
        "receipts": [
            {
                "at": each.at, "notifier": each.notifier, "action": each.action.value, "ref": each.ref,
                "destination": each.destination, "permalink": each.permalink, "degraded": each.degraded,
            }
            for each in story.receipts
        ],
        "undelivered": [
            {"notifier": call.notifier, "action": call.action.value, "state": call.state, "error": call.last_error}
            for call in story.calls
            if call.state != "sent"
        ],
        "hidden": [
            {"silence": each.silence, "notifier": each.notifier, "at": each.at, "told_at": each.told_at}
            for each in story.hidden
        ],
    }  # fmt: skip


def incident_routes(inside: Inside) -> list[GuardedRoute]:
    """Every route of the API."""
    incidents = Incidents(inside)
    one: Mapping[str, Any] = {"$ref": "#/components/schemas/Incident"}
    done: Mapping[str, Any] = {"type": "object", "properties": {"said": {"type": "string"}, "incident": one}}
    text: Mapping[str, Any] = {"type": "string", "maxLength": _LONGEST}
    which = [
        {"name": "state", "in": "query", "schema": {"enum": ["open", "all"], "default": "open"}},
        {"name": "limit", "in": "query",
         "schema": {"type": "integer", "minimum": 1, "maximum": _MOST, "default": 50}},
    ]  # fmt: skip

    def told(summary: str, gives: Mapping[str, Any], **more: Any) -> Operation:
        return Operation(summary=summary, tag="Tocsin", answer=gives, **more)

    listed = {"type": "object", "properties": {"incidents": {"type": "array", "items": one}}}
    body = {"type": "object", "additionalProperties": False, "properties": {"by": text, "why": text}}
    base, read, write = "/api/tocsin/v1/incidents", Scope.ALERTS_READ, Scope.INCIDENTS_WRITE
    return [
        protected(base, incidents.list, read, operation=told("Incidents, the newest first", listed, parameters=which)),
        protected(f"{base}/{{id}}", incidents.show, read, operation=told("One incident and its story", one)),
        protected(
            f"{base}/{{id}}/ack", incidents.ack, write, methods=("POST",),
            operation=told("Take an incident", done, body=body),
        ),
        protected(
            f"{base}/{{id}}/resolve", incidents.resolve, write, methods=("POST",),
            operation=told("Close an incident", done, body=body),
        ),
    ]  # fmt: skip


_TIME: Final[Mapping[str, Any]] = {"type": ["string", "null"], "format": "date-time"}
SCHEMAS: Final[Mapping[str, Any]] = {
    "Incident": {
        "type": "object",
        "required": ["id", "severity", "state", "route", "group", "opened_at", "alerts"],
        "properties": {
            "id": {"type": "string"},
            "severity": {"enum": ["P0", "P1", "P2", "P3"]},
            "state": {"enum": ["open", "acked", "resolved"]},
            "route": {"type": "string"},
            "group": {"type": "object", "additionalProperties": {"type": "string"}},
            "opened_at": _TIME,
            "acked_at": _TIME,
            "acked_by": {"type": "string"},
            "resolved_at": _TIME,
            "resolved_why": {"type": "string"},
            "reopened": {"type": "integer"},
            "peak": {"type": "integer"},
            "alerts": {"type": "array", "items": {"type": "object"}},
            "decisions": {"type": "array", "items": {"type": "object"}},
            "receipts": {"type": "array", "items": {"type": "object"}},
            "undelivered": {"type": "array", "items": {"type": "object"}},
            "hidden": {"type": "array", "items": {"type": "object"}},
        },
    }
}
"""What /openapi.json says of incidents."""
