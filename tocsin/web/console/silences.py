"""Silences: those that hold and what they hid, what a new one would hide, and its making and ending."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tocsin.access.tokens import Scope
from tocsin.durations import parse_duration
from tocsin.incidents.told import Hidden
from tocsin.model import Silence
from tocsin.state.inbox import Expire, Hush, Refusal
from tocsin.state.preview import previewed
from tocsin.web.console.render import page, sent_on, told
from tocsin.web.form import Form, form_of
from tocsin.web.gate import GuardedRoute, actor_of, protected
from tocsin.web.inside import Inside
from tocsin.web.silences import KEPT, wanted

_NAMED: Final = 50
_LONGEST: Final = 2000
"""Characters of a field."""


@dataclass
class Typed:
    """The form as it was typed, and what is wrong with it."""

    matchers: str = ""
    lasts: str = "2h"
    why: str = ""

    @classmethod
    def of(cls, form: Form) -> Typed:
        typed = cls()
        return cls(
            matchers=form.one("matchers")[:_LONGEST], lasts=form.one("lasts", typed.lasts)[:_LONGEST],
            why=form.one("why")[:_LONGEST],
        )  # fmt: skip


@dataclass(frozen=True)
class SilencePages:
    """The handlers."""

    inside: Inside

    async def list(self, request: Request, error: str = "") -> Response:
        """Those in force or to come, the first to end first; and those that ended lately and hid something."""
        now, history = self.inside.clock.now(), self.inside.state.history
        found = sorted(await history.silences(now - KEPT), key=lambda each: each.ends_at)
        hid = {id: _incidents(entries) for id, entries in (await history.hidden(now - KEPT)).items()}
        return page(
            request, "silences", now, status=409 if error else 200, error=error, hid=hid,
            silences=[each for each in found if each.ends_at > now],
            ended=[each for each in reversed(found) if each.ends_at <= now and each.id in hid],
        )  # fmt: skip

    async def show(self, request: Request) -> Response:
        """One, with what it hid."""
        id, history = request.path_params["id"], self.inside.state.history
        silence = await history.silence(id)
        if silence is None:
            raise HTTPException(404, f"there is no silence {id}; /silences lists those there are")
        hid = await history.hidden_by(id)
        incidents = list({incident.id: incident for _, incident in hid}.values())
        told_at = max((entry.told_at for entry, _ in hid if entry.told_at is not None), default=None)
        now = self.inside.clock.now()
        return page(
            request, "silence", now, silence=silence, incidents=incidents, told_at=told_at, ended=silence.ends_at <= now
        )

    async def new(self, request: Request) -> Response:
        """The form; with matchers, what they would hide."""
        typed = Typed.of(await form_of(request))
        return await self._form(request, typed)

    async def make(self, request: Request) -> Response:
        """Silence it."""
        typed = Typed.of(await form_of(request))
        try:
            silence = self._wanted(typed, f"s-{secrets.token_hex(4)}", actor_of(request))
            await self.inside.errands.do(Hush(silence=silence))
        except (ValueError, Refusal) as error:
            return await self._form(request, typed, str(error))
        return sent_on("/silences", "silenced")

    async def expire(self, request: Request) -> Response:
        """End one now."""
        try:
            await self.inside.errands.do(Expire(id=(await form_of(request)).one("id")))
        except Refusal as error:
            return await self.list(request, str(error))
        return sent_on("/silences", "expired")

    def _wanted(self, typed: Typed, id: str, by: str, why: str = "") -> Silence:
        lasts = timedelta(seconds=parse_duration(typed.lasts.strip()))
        texts = shlex.split(typed.matchers)
        return wanted(texts, lasts, self.inside.clock.now(), id=id, by=by, why=why or typed.why.strip())

    async def _form(self, request: Request, typed: Typed, error: str = "") -> Response:
        context: dict[str, Any] = {"typed": typed, "preview": None, "named": _NAMED}
        now = self.inside.clock.now()
        if typed.matchers.strip() and not error:
            try:
                silence = self._wanted(typed, "preview", "preview", why="preview")
                context["preview"] = await previewed(self.inside.state, silence, now)
            except ValueError as wrong:
                error = str(wrong)
        return page(request, "silence_new", now, status=422 if error else 200, error=error, **context)


def _incidents(entries: Iterable[Hidden]) -> int:
    return len({entry.incident for entry in entries})


def silence_page_routes(inside: Inside) -> list[GuardedRoute]:
    """All of them."""
    pages, read, write, post = SilencePages(inside), Scope.ALERTS_READ, Scope.ALERTS_WRITE, ("POST",)
    fields = ("matchers", "lasts", "why")
    return [
        protected("/silences", pages.list, read, operation=told("Silences", "done")),
        protected("/silences", pages.make, write, methods=post, operation=told("Make a silence", *fields)),
        protected("/silences/new", pages.new, read, operation=told("What a silence would hide", *fields)),
        protected("/silences/expire", pages.expire, write, methods=post, operation=told("End a silence", "id")),
        protected("/silences/{id}", pages.show, read, operation=told("One silence and what it hid")),
    ]
