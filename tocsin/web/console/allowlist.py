"""The allowlist's pages: who may come in, who decides it, and why an address may or may not.

What may be changed is decided where the list is kept (tocsin.access.allowlist.change), in the transaction that stores
it: nobody removes the last admin or themself here either. An import shows what it would do before it does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tocsin.access.allowlist import (
    AuditLine,
    Change,
    ChangeRefused,
    Entry,
    Put,
    Remove,
    Replace,
    Role,
    Roll,
    difference,
    export_csv,
    import_csv,
)
from tocsin.access.allowlist.search import Search
from tocsin.access.tokens import Scope
from tocsin.errors import InputError
from tocsin.state.allowlist import AllowlistTable
from tocsin.web.console.entry_form import FIELDS, NotAnEntry, Typed
from tocsin.web.console.render import page, part, sent_on, told
from tocsin.web.form import form_of
from tocsin.web.gate import GuardedRoute, actor_of, protected
from tocsin.web.inside import Inside

FILTERS: Final = ("q", "effect", "role", "kind", "state")
_AUDITED: Final = 200
_HOLDS: Final = {"in force": True, "expired": False}
_FILE: Final = "pasted.csv"


@dataclass(frozen=True)
class AllowlistPages:
    """The handlers."""

    inside: Inside

    @property
    def _table(self) -> AllowlistTable:
        return AllowlistTable(self.inside.state)

    async def list(self, request: Request) -> Response:
        """The entries that the search and the filters leave, and the form that adds one."""
        return await self._listed(request, Typed())

    async def _listed(self, request: Request, typed: Typed) -> Response:
        now = self.inside.clock.now()
        asked = {name: request.query_params.get(name, "").strip() for name in FILTERS}
        entries = (await self._table.load()).entries
        search = Search(
            text=asked["q"], effect=asked["effect"], role=asked["role"], kind=asked["kind"],
            holds=_HOLDS.get(asked["state"]),
        )  # fmt: skip
        shown = [entry for entry in entries if search.finds(entry, now)]
        return self._typed(
            request, "allowlist", now, typed, entries=shown, total=len(entries), asked=asked,
            expired=[entry.value for entry in shown if not entry.holds(now)],
        )  # fmt: skip

    def _typed(self, request: Request, name: str, now: datetime, typed: Typed, **context: Any) -> Response:
        """A page with the form of an entry; after a mistake, what is wrong, with a way to the field."""
        error = typed.refused or "; ".join(typed.wrong.values())
        at = "" if not error else next(iter(typed.wrong), "panel")
        shown = page(
            request, name, now, status=422 if error else 200, error=error, error_at=at, typed=typed, roles=[*Role],
            **context,
        )  # fmt: skip
        return part(shown, "panel") if error else shown

    async def add(self, request: Request) -> Response:
        """Add one; refused when it is there."""
        typed = Typed.of_form(await form_of(request))
        try:
            await self._change(request, Put((typed.entry(self.inside.clock.now(), actor_of(request)),), only_new=True))
        except NotAnEntry as error:
            return await self._listed(request, error.typed)
        except ChangeRefused as error:
            return await self._listed(request, replace(typed, refused=str(error)))
        return sent_on("/allowlist", "added")

    async def edit(self, request: Request) -> Response:
        """One entry, to be changed, ended or removed."""
        entry = await self._one(request.query_params.get("value", ""))
        now = self.inside.clock.now()
        return self._typed(request, "allowlist_entry", now, Typed.of_entry(entry), entry=entry)

    async def change(self, request: Request) -> Response:
        """Change, expire or remove it, by the button that was pressed."""
        form = await form_of(request)
        entry, now = await self._one(form.one("value")), self.inside.clock.now()
        do = form.one("do") if form.one("do") in ("remove", "expire") else "change"
        typed = Typed.of_form(form) if do == "change" else Typed.of_entry(entry)
        try:
            if do == "remove":
                wanted: Change = Remove((entry.value,))
            elif do == "expire":
                wanted = Put((replace(entry, expires_at=now),))
            else:
                wanted = Put((typed.entry(now, actor_of(request)),))
            await self._change(request, wanted)
        except NotAnEntry as error:
            return self._typed(request, "allowlist_entry", now, error.typed, entry=entry)
        except ChangeRefused as error:
            return self._typed(request, "allowlist_entry", now, replace(typed, refused=str(error)), entry=entry)
        return sent_on("/allowlist", {"remove": "removed", "expire": "ended", "change": "changed"}[do])

    async def test(self, request: Request) -> Response:
        """May this address come in, and why?"""
        address, now = request.query_params.get("address", "").strip(), self.inside.clock.now()
        ruling = Roll(await self._table.load()).ruling(address, now) if address else None
        return page(request, "allowlist_test", now, address=address, ruling=ruling)

    async def importing(self, request: Request) -> Response:
        """Paste, look at what it would do, then do it."""
        now = self.inside.clock.now()
        if request.method == "GET":
            return page(request, "allowlist_import", now, text="", prune=False, diff=None, wrong="")
        form = await form_of(request)
        text, prune = form.one("text"), form.one("prune") == "yes"
        shown: dict[str, Any] = {"text": text, "prune": prune, "diff": None, "wrong": ""}
        try:
            entries = import_csv(text.encode(), _FILE, now, by=actor_of(request))
            diff = difference((await self._table.load()).entries, entries, prune=prune)
            wanted: Change = Replace(entries) if prune else Put(entries)
            sure = form.one("do") == "import"
            await self._change(request, wanted, dry_run=not sure)
        except (InputError, ChangeRefused) as error:
            return page(
                request, "allowlist_import", now, status=422, error="Nothing was changed.", error_at="text",
                **{**shown, "wrong": str(error)},
            )  # fmt: skip
        if sure:
            return sent_on("/allowlist", "imported")
        return page(request, "allowlist_import", now, **{**shown, "diff": diff})

    async def export(self, _: Request) -> Response:
        """The list as CSV, safe to open in a spreadsheet."""
        name = f"allowlist-{self.inside.clock.now():%Y-%m-%d}.csv"
        return Response(
            export_csv((await self._table.load()).entries), media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )  # fmt: skip

    async def audit(self, request: Request) -> Response:
        """Who changed what, the newest first."""
        before = request.query_params.get("before", "")
        oldest = int(before) if before.isascii() and before.isdigit() and len(before) < 16 else None
        value = request.query_params.get("value", "").strip().lower()
        found = await self._table.audit(value=value, limit=_AUDITED, before=oldest)
        lines = [(each.line, _differences(each.line)) for each in found]
        more = found[-1].seq if len(found) == _AUDITED else None
        return page(request, "allowlist_audit", self.inside.clock.now(), lines=lines, more=more, value=value)

    async def _one(self, value: str) -> Entry:
        found = next((entry for entry in (await self._table.load()).entries if entry.value == value), None)
        if found is None:
            raise HTTPException(404, f"{value} is not on the list; it may have been removed meanwhile")
        return found

    async def _change(self, request: Request, change: Change, *, dry_run: bool = False) -> None:
        await self._table.change(change, actor_of(request), self.inside.clock.now(), dry_run=dry_run)


def _differences(line: AuditLine) -> list[tuple[str, str, str]]:
    """(what, before, after) of each thing that a change changed; of an addition, what it began with."""
    before, after = line.before or {}, line.after or {}
    if not after:
        return []
    names = {"effect": "effect", "role": "role", "expires_at": "end", "note": "note", "plus": "plus", "dots": "dots"}
    pairs = [(title, _told(before, name), _told(after, name)) for name, title in names.items()]
    return [(title, was, is_) for title, was, is_ in pairs if was != is_]


def _told(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if value and name == "expires_at":
        return f"{datetime.fromisoformat(str(value)):%Y-%m-%d %H:%M} UTC"
    return "" if value is None else f"“{value}”" if value and name == "note" else str(value)


def allowlist_page_routes(inside: Inside) -> list[GuardedRoute]:
    """All of them."""
    pages = AllowlistPages(inside)
    scope, post = Scope.ALLOWLIST_WRITE, ("POST",)
    return [
        protected("/allowlist", pages.list, scope, operation=told("Who may come in", *FILTERS)),
        protected("/allowlist", pages.add, scope, methods=post, operation=told("Add an entry", *FIELDS)),
        protected("/allowlist/entry", pages.edit, scope, operation=told("One entry", "value")),
        protected("/allowlist/entry", pages.change, scope, methods=post, operation=told("Change it", *FIELDS, "do")),
        protected("/allowlist/test", pages.test, scope, operation=told("May an address come in?", "address")),
        protected("/allowlist/import", pages.importing, scope, operation=told("Import CSV")),
        protected(
            "/allowlist/import",
            pages.importing,
            scope,
            methods=post,
            operation=told("Import CSV", "text", "prune", "do"),
        ),
        protected("/allowlist/export.csv", pages.export, scope, operation=told("The list as CSV", media="text/csv")),
        protected("/allowlist/audit", pages.audit, scope, operation=told("Who changed what", "value", "before")),
    ]  # fmt: skip
