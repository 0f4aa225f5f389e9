"""silences and silence/ID."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from tocsin.errors import StateError
from tocsin.incidents.matching import all_match
from tocsin.model import Labels, Silence
from tocsin.state.inbox import Expire, Hush, Refusal
from tocsin.web.alertmanager.wording import BadRequest, answer, filters_of, matcher_of, silence_json, time_of
from tocsin.web.form import form_of, json_of
from tocsin.web.inside import Inside

KEPT: Final = timedelta(hours=120)
"""How long a silence that has ended is still listed: as Alertmanager's."""
_ORDER: Final = {"active": 0, "pending": 1, "expired": 2}


class NotThere(Exception):
    """No silence has that id."""


@dataclass(frozen=True)
class Silences:
    """The endpoints over the silences."""

    inside: Inside

    async def list(self, request: Request) -> Response:
        """Those that hold, will, or have ended lately."""
        filters = filters_of(await form_of(request))
        now = self.inside.clock.now()
        found = [
            silence_json(each, now)
            for each in (await self._known(now)).values()
            # As Alertmanager: a filter looks at what the matchers say, as if that were labels.
            if all_match(filters, Labels({matcher.name: matcher.value for matcher in each.matchers}))
        ]
        found.sort(key=lambda each: (_ORDER[each["status"]["state"]], each["endsAt"], each["id"]))
        return answer(request, found)

    async def _known(self, now: datetime) -> dict[str, Silence]:
        book = self.inside.pipeline.book
        try:
            stored = await self.inside.state.history.silences(now - KEPT)
        except StateError:
            stored = ()
        return {**{each.id: each for each in stored}, **book.silences}

    async def show(self, request: Request) -> Response:
        """One silence."""
        now = self.inside.clock.now()
        found = (await self._known(now)).get(request.path_params["id"])
        if found is None:
            return _not_there(request)
        return answer(request, silence_json(found, now))

    async def post(self, request: Request) -> Response:
        """A new silence, or with an id a changed one. Durable when this answers."""
        wanted, id = _read(await json_of(request), self.inside.clock.now())
        now = self.inside.clock.now()
        known = (await self._known(now)).get(id) if id else None
        if id and (known is None or known.ends_at <= now):
            return _not_there(request)
        if known is not None and known.matchers == wanted.matchers:
            wanted = replace(wanted, id=known.id, starts_at=_begin(known, wanted, now))
        try:
            await self.inside.errands.do(Hush(silence=wanted))
            if known is not None and known.id != wanted.id:
                # What it hides is another thing: the old one ends, and another begins.
                await self.inside.errands.do(Expire(id=known.id))
        except Refusal as error:
            raise BadRequest(str(error)) from None
        return answer(request, {"silenceID": wanted.id})

    async def expire(self, request: Request) -> Response:
        """It ends now. One that has ended stays as it is."""
        id = request.path_params["id"]
        now = self.inside.clock.now()
        if (known := (await self._known(now)).get(id)) is None or known.ends_at <= now:
            return _not_there(request) if known is None else answer(request, None)
        try:
            await self.inside.errands.do(Expire(id=id))
        except Refusal:
            return _not_there(request)
        return Response(status_code=200)


def _begin(known: Silence, wanted: Silence, now: datetime) -> datetime:
    """One that holds already goes on from when it began."""
    return known.starts_at if known.starts_at <= now else wanted.starts_at


def _not_there(request: Request) -> Response:
    return answer(request, f"silence {request.path_params.get('id', '')} not found".replace("  ", " "), 404)


def _read(value: Any, now: datetime) -> tuple[Silence, str]:
    """(the silence, with a new id; the id that was given). Raises BadRequest."""
    if not isinstance(value, dict):
        raise BadRequest("the body must be a JSON object")
    matchers = value.get("matchers")
    if not isinstance(matchers, list) or not matchers:
        raise BadRequest("matchers: at least one is needed")
    texts = {name: value.get(name) or "" for name in ("id", "comment", "createdBy")}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise BadRequest(f"{name} must be a text")
    starts, ends = time_of(value.get("startsAt"), "startsAt"), time_of(value.get("endsAt"), "endsAt")
    if starts is None or ends is None:
        raise BadRequest("startsAt and endsAt are needed")
    if ends <= now:
        raise BadRequest("endsAt: the end time is in the past")
    if not texts["createdBy"].strip():
        raise BadRequest("createdBy: say who, for the message")
    if not texts["comment"].strip():
        raise BadRequest("comment: a silence needs a reason, so that the next on call knows")
    silence = Silence(
        id=f"s-{secrets.token_hex(4)}",
        matchers=tuple(matcher_of(each) for each in matchers),
        starts_at=max(starts, now),
        ends_at=ends,
        created_by=texts["createdBy"],
        why=texts["comment"],
    )
    return silence, texts["id"]
