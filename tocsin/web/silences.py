"""Silences on /api/tocsin/v1: what they hide, which Alertmanager's API has no word for.

    GET  silences?state=active|all      those that hold or will, each with how many incidents it hid; or the ended, too
    GET  silences/ID                    with what it hid, and when that was told
    POST silences/preview               {"matchers": ["service=shop"]} → what it would hide; nothing is made

A silence is made, changed and ended by Alertmanager's /api/v2/silences. Errors are RFC 9457 problems.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tocsin.access.tokens import Scope
from tocsin.incidents.matching import parse_matcher
from tocsin.incidents.silences import check
from tocsin.incidents.told import Hidden
from tocsin.model import Alert, Incident, Silence
from tocsin.state.preview import previewed
from tocsin.web.form import form_of, object_of
from tocsin.web.gate import GuardedRoute, Operation, protected
from tocsin.web.inside import Inside
from tocsin.web.streaming import Body, respond

KEPT: Final = timedelta(days=5)
"""One that has ended is listed for this long: as in Alertmanager's API."""
_NAMED: Final = 100
_MOST_MATCHERS: Final = 100


def wanted(matchers: Iterable[str], lasts: timedelta, now: datetime, *, id: str, by: str, why: str) -> Silence:
    """The silence that somebody typed. Raises ValueError that says what it must have."""
    made = Silence(
        id=id, matchers=tuple(parse_matcher(text) for text in matchers), starts_at=now, ends_at=now + lasts,
        created_by=by, why=why,
    )  # fmt: skip
    check(made)
    return made


@dataclass(frozen=True)
class HiddenBy:
    """The endpoints."""

    inside: Inside

    async def list(self, request: Request) -> Response:
        """The first to end first."""
        state = (await form_of(request)).one("state", "active")
        if state not in ("active", "all"):
            raise HTTPException(400, f"state is active or all, not {state!r}")
        now = self.inside.clock.now()
        after = now if state == "active" else now - KEPT
        found = await self.inside.state.history.silences(after)
        hid = await self.inside.state.history.hidden(after)
        return _answer(request, {"silences": [silence_json(each, hid.get(each.id, ()), now) for each in found]})

    async def show(self, request: Request) -> Response:
        """One, with what it hid."""
        id = request.path_params["id"]
        found = await self.inside.state.history.silence(id)
        if found is None:
            raise HTTPException(404, f"there is no silence {id}")
        hid = await self.inside.state.history.hidden_by(id)
        document = silence_json(found, [entry for entry, _ in hid], self.inside.clock.now())
        return _answer(request, {**document, "hidden": [_hidden_json(*each) for each in hid]})

    async def preview(self, request: Request) -> Response:
        """What it would hide."""
        matchers = (await object_of(request)).get("matchers")
        if not isinstance(matchers, list) or not all(isinstance(each, str) for each in matchers):
            raise HTTPException(400, 'matchers is a list of texts, e.g. ["service=shop"]')
        if len(matchers) > _MOST_MATCHERS:
            raise HTTPException(400, f"at most {_MOST_MATCHERS} matchers are taken")
        now = self.inside.clock.now()
        try:
            silence = wanted(matchers, timedelta(hours=1), now, id="preview", by="preview", why="preview")
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        found = await previewed(self.inside.state, silence, now)
        return _answer(
            request,
            {
                "text": found.text(), "now_total": len(found.now), "past_total": len(found.past),
                "now": [_alert_json(each) for each in found.now[:_NAMED]],
                "past": [_alert_json(each) for each in found.past[:_NAMED]],
            },
        )  # fmt: skip


def _answer(request: Request, value: Any) -> Response:
    return respond(request, Body.begun(iter((orjson.dumps(value, option=orjson.OPT_UTC_Z),))))


def silence_json(silence: Silence, hid: Sequence[Hidden], now: datetime) -> dict[str, Any]:
    """A silence, for programs. The names are those of `tocsin silence list --json`."""
    return {
        "id": silence.id, "matchers": [str(each) for each in silence.matchers], "starts_at": silence.starts_at,
        "ends_at": silence.ends_at, "created_by": silence.created_by, "why": silence.why,
        "holds": silence.starts_at <= now < silence.ends_at, "hid": len({entry.incident for entry in hid}),
        "told_at": max((entry.told_at for entry in hid if entry.told_at is not None), default=None),
    }  # fmt: skip


def _hidden_json(entry: Hidden, incident: Incident) -> dict[str, Any]:
    return {
        "incident": incident.id, "severity": incident.severity.value, "state": incident.state.value,
        "opened_at": incident.opened_at, "resolved_at": incident.resolved_at, "notifier": entry.notifier,
        "at": entry.at, "told_at": entry.told_at,
    }  # fmt: skip


def _alert_json(alert: Alert) -> dict[str, Any]:
    return {
        "alertname": alert.name, "severity": alert.severity.value, "labels": dict(alert.labels),
        "active_at": alert.active_at, "resolved_at": alert.resolved_at,
    }  # fmt: skip


def silence_routes(inside: Inside) -> list[GuardedRoute]:
    """Every route of the API."""
    silences, base, read = HiddenBy(inside), "/api/tocsin/v1/silences", Scope.ALERTS_READ
    one: Mapping[str, Any] = {"$ref": "#/components/schemas/TocsinSilence"}
    listed = {"type": "object", "properties": {"silences": {"type": "array", "items": one}}}
    which = [{"name": "state", "in": "query", "schema": {"enum": ["active", "all"], "default": "active"}}]
    texts = {"type": "array", "items": {"type": "string"}, "maxItems": _MOST_MATCHERS}
    body = {"type": "object", "required": ["matchers"], "properties": {"matchers": texts}}
    would = {"type": "object", "properties": {"text": {"type": "string"}, "now": _LIST, "past": _LIST}}

    def told(summary: str, gives: Mapping[str, Any], **more: Any) -> Operation:
        return Operation(summary=summary, tag="Tocsin", answer=gives, **more)

    return [
        protected(
            base, silences.list, read,
            operation=told("Silences, and how much each hid", listed, parameters=which),
        ),
        protected(
            f"{base}/preview", silences.preview, read, methods=("POST",),
            operation=told("What a silence would hide, and would have in the last 30 days", would, body=body),
        ),
        protected(f"{base}/{{id}}", silences.show, read, operation=told("One silence and what it hid", one)),
    ]  # fmt: skip


_LIST: Final[Mapping[str, Any]] = {"type": "array", "items": {"type": "object"}}
_TIME: Final[Mapping[str, Any]] = {"type": ["string", "null"], "format": "date-time"}
SCHEMAS: Final[Mapping[str, Any]] = {
    "TocsinSilence": {
        "type": "object",
        "required": ["id", "matchers", "starts_at", "ends_at", "created_by", "why", "holds", "hid"],
        "properties": {
            "id": {"type": "string"}, "matchers": {"type": "array", "items": {"type": "string"}},
            "starts_at": _TIME, "ends_at": _TIME, "created_by": {"type": "string"}, "why": {"type": "string"},
            "holds": {"type": "boolean"}, "hid": {"type": "integer"}, "told_at": _TIME, "hidden": _LIST,
        },
    }
}  # fmt: skip
"""What /openapi.json says of silences."""
