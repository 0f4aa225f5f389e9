"""The endpoints over the allowlist."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tocsin.access.allowlist import (
    AuditLine,
    BadAddress,
    Change,
    ChangeRefused,
    Effect,
    Entry,
    Expire,
    Fold,
    Folding,
    Kind,
    Purge,
    Put,
    Remove,
    Replace,
    Role,
    Roll,
    difference,
    entry_of,
    export_csv,
    import_csv,
)
from tocsin.access.allowlist.documents import audit_document, difference_document, entry_document, ruling_document
from tocsin.access.allowlist.entry import read_value
from tocsin.access.allowlist.search import NO_ROLE, Search
from tocsin.access.tokens import Scope
from tocsin.errors import InputError
from tocsin.state.allowlist import AllowlistTable
from tocsin.web.allowlist.bodies import (
    Addition,
    Alteration,
    Differences,
    Ending,
    Fields,
    Import,
    Named,
    Nothing,
    Question,
    Sent,
)
from tocsin.web.form import form_of
from tocsin.web.gate import Endpoint, GuardedRoute, Operation, actor_of, protected
from tocsin.web.inside import Inside
from tocsin.web.streaming import Body, respond

_MOST_LINES: Final = 1000
_FILTERS: Final[Mapping[str, tuple[str, ...]]] = {
    "effect": tuple(Effect), "role": (*Role, NO_ROLE), "kind": tuple(Kind), "holds": ("true", "false"),
}  # fmt: skip


@dataclass(frozen=True)
class Allowlist:
    """The handlers."""

    inside: Inside

    @property
    def _table(self) -> AllowlistTable:
        return AllowlistTable(self.inside.state)

    async def list(self, request: Request) -> Response:
        """The entries that the search leaves."""
        form = await form_of(request)
        for name, words in _FILTERS.items():
            if form.one(name) not in ("", *words):
                raise HTTPException(400, f"{name} is {', '.join(words)}, not {form.one(name)!r}")
        holds = {"true": True, "false": False}.get(form.one("holds"))
        search = Search(
            text=form.one("q"), effect=form.one("effect"), role=form.one("role"), kind=form.one("kind"), holds=holds
        )
        listed, now = await self._table.load(), self.inside.clock.now()
        found = [entry_document(entry, now) for entry in listed.entries if search.finds(entry, now)]
        return _answer(request, {"total": len(listed.entries), "entries": found, "folding": _folding(listed.folding)})

    async def add(self, request: Request) -> Response:
        """All of them or none."""
        sent = await Addition.of(request)
        entries = [self._entry(request, each.value, each) for each in sent.entries]
        if len({entry.value for entry in entries}) != len(entries):
            raise HTTPException(400, "an entry is named twice")
        return await self._changed(request, Put(tuple(entries), only_new=True))

    async def change(self, request: Request) -> Response:
        """One; what is not named stays as it is."""
        sent = await Alteration.of(request)
        (value,) = _spelled((sent.value,))
        known = next((entry for entry in (await self._table.load()).entries if entry.value == value), None)
        if known is None:
            raise HTTPException(409, f"{value} is not on the list")
        wanted = {name: getattr(sent if name in sent.model_fields_set else known, name) for name in Fields.model_fields}
        return await self._changed(request, Put((self._entry(request, value, Fields.model_construct(**wanted)),)))

    async def expire(self, request: Request) -> Response:
        """They end, and stay on the list."""
        sent, now = await Ending.of(request), self.inside.clock.now()
        return await self._changed(request, Expire(_spelled(sent.values), max(sent.at or now, now)))

    async def remove(self, request: Request) -> Response:
        """All of them or none."""
        return await self._changed(request, Remove(_spelled((await Named.of(request)).values)))

    async def test(self, request: Request) -> Response:
        """May this address come in, and why?"""
        sent = await Question.of(request)
        return _answer(
            request, ruling_document(Roll(await self._table.load()).ruling(sent.address, self.inside.clock.now()))
        )

    async def importing(self, request: Request) -> Response:
        """What a file changes, and on request the change."""
        sent, now = await Import.of(request), self.inside.clock.now()
        try:
            entries = await asyncio.to_thread(import_csv, sent.csv.encode(), "csv", now, by=actor_of(request))
        except InputError as error:
            raise HTTPException(400, str(error)) from None
        found = difference((await self._table.load()).entries, entries, prune=sent.prune)
        # A dry run asks the guards too: what it shows is what applying does.
        await self._do(request, Replace(entries) if sent.prune else Put(entries), dry_run=not sent.apply)
        return _answer(request, {"applied": sent.apply, **difference_document(found)})

    async def export(self, _: Request) -> Response:
        """The list as CSV, safe to open in a spreadsheet."""
        return Response(export_csv((await self._table.load()).entries), media_type="text/csv; charset=utf-8")

    async def audit(self, request: Request) -> Response:
        """Who changed what, the newest first."""
        form = await form_of(request)
        limit, before = (_number(form.one(name, default), name) for name, default in (("limit", "200"), ("before", "")))
        if limit is None or not 1 <= limit <= _MOST_LINES:
            raise HTTPException(400, f"limit is a number from 1 to {_MOST_LINES}")
        value = _spelled((form.one("value"),))[0] if form.one("value") else ""
        lines = await self._table.audit(value=value, limit=limit, before=before)
        return _answer(request, {"audit": [{"seq": each.seq, **audit_document(each.line)} for each in lines]})

    async def folding(self, request: Request) -> Response:
        """Which differences are ignored, and from now on."""
        sent, have = await Differences.of(request), (await self._table.load()).folding
        wanted = Folding(
            plus=have.plus if sent.plus is None else sent.plus,
            dots=have.dots if sent.gmail_dots is None else sent.gmail_dots,
        )
        await self._do(request, Fold(wanted))
        return _answer(request, {"folding": _folding(wanted)})

    async def purge(self, request: Request) -> Response:
        """Forget the signing keys and who was proven with them, in every process."""
        await Nothing.of(request)
        return await self._changed(request, Purge())

    async def _changed(self, request: Request, change: Change) -> Response:
        lines = await self._do(request, change)
        return _answer(request, {"changed": [audit_document(line) for line in lines]})

    async def _do(self, request: Request, change: Change, *, dry_run: bool = False) -> tuple[AuditLine, ...]:
        try:
            return await self._table.change(change, actor_of(request), self.inside.clock.now(), dry_run=dry_run)
        except ChangeRefused as error:
            raise HTTPException(409, str(error)) from None

    def _entry(self, request: Request, value: str, sent: Fields) -> Entry:
        try:
            return entry_of(
                value, self.inside.clock.now(), by=actor_of(request), effect=sent.effect, role=sent.role,
                note=sent.note.strip(), expires_at=sent.expires_at,
            )  # fmt: skip
        except BadAddress as error:
            raise HTTPException(400, f"{value!r}: {error}") from None


def _spelled(values: Iterable[str]) -> tuple[str, ...]:
    try:
        return tuple(read_value(value)[0] for value in values)
    except BadAddress as error:
        raise HTTPException(400, f"no entry: {error}") from None


def _number(text: str, name: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise HTTPException(400, f"{name} is a number, not {text!r}")
    return int(text)


def _folding(folding: Folding) -> Mapping[str, bool]:
    return {"plus": folding.plus, "gmail_dots": folding.dots}


def _answer(request: Request, value: Any) -> Response:
    return respond(request, Body.begun(iter((orjson.dumps(value, option=orjson.OPT_UTC_Z),))))


def allowlist_routes(inside: Inside) -> list[GuardedRoute]:
    """Every route of the API."""
    api, base = Allowlist(inside), "/api/tocsin/v1/allowlist"
    entry: Mapping[str, Any] = {"$ref": "#/components/schemas/AllowlistEntry"}
    lines: Mapping[str, Any] = {"type": "array", "items": {"type": "object"}}
    text: Mapping[str, Any] = {"type": "string"}

    def gives(**members: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"type": "object", "properties": members}

    def asked(*parameters: tuple[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        return [{"name": name, "in": "query", "schema": schema} for name, schema in parameters]

    def reads(path: str, endpoint: Endpoint, summary: str, **more: Any) -> GuardedRoute:
        methods = ("POST",) if "body" in more else ("GET",)
        return protected(
            base + path, endpoint, Scope.ALLOWLIST_READ, Scope.ALLOWLIST_WRITE, methods=methods,
            operation=Operation(summary=summary, tag="Tocsin", **more),
        )  # fmt: skip

    def writes(
        path: str, endpoint: Endpoint, summary: str, body: type[Sent], answer: Mapping[str, Any]
    ) -> GuardedRoute:
        told = Operation(summary=summary, tag="Tocsin", body=body.schema_of(), answer=answer)
        return protected(base + path, endpoint, Scope.ALLOWLIST_WRITE, methods=("POST",), operation=told)

    found = gives(total={"type": "integer"}, entries={"type": "array", "items": entry}, folding={"type": "object"})
    search = asked(("q", text), *((name, {"enum": list(words)}) for name, words in _FILTERS.items()))
    page = asked(("value", text), ("limit", {"type": "integer", "minimum": 1, "maximum": _MOST_LINES, "default": 200}),
                 ("before", {"type": "integer", "minimum": 0}))  # fmt: skip
    changes = gives(changed=lines)
    purge = Operation(summary="Forget the signing keys and who was proven with them, in every process", tag="Tocsin",
                      body=Nothing.schema_of(), answer=changes)  # fmt: skip
    return [
        reads("", api.list, "Who may come in", answer=found, parameters=search),
        reads("/test", api.test, "May an address come in, and why?", body=Question.schema_of(),
              answer=gives(allowed={"type": "boolean"}, because=text)),
        reads("/export", api.export, "The list as CSV", media="text/csv"),
        reads("/audit", api.audit, "Who changed what, the newest first", answer=gives(audit=lines), parameters=page),
        writes("", api.add, "Add entries, all or none", Addition, changes),
        writes("/change", api.change, "Change an entry", Alteration, changes),
        writes("/expire", api.expire, "Let entries end", Ending, changes),
        writes("/remove", api.remove, "Take entries out, all or none", Named, changes),
        writes("/import", api.importing, "What a CSV file changes, and on request the change", Import,
               gives(applied={"type": "boolean"}, added=lines, changed=lines, removed=lines)),
        writes("/folding", api.folding, "Which differences between addresses are ignored", Differences,
               gives(folding={"type": "object"})),
        protected("/api/tocsin/v1/auth/purge-keys", api.purge, Scope.ALLOWLIST_WRITE, methods=("POST",),
                  operation=purge),
    ]  # fmt: skip
