"""The allowlist's pages: who may come in, who decides it, and why an address may or may not.

What may be changed is decided where the list is kept (tocsin.access.allowlist.change), in the transaction that stores
it: nobody removes the last admin or themself here either. An import shows what it would do before it does it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tocsin.access.allowlist import (
    BadAddress,
    Change,
    ChangeRefused,
    Effect,
    Entry,
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
from tocsin.access.allowlist.search import Search
from tocsin.access.tokens import Scope
from tocsin.errors import InputError
from tocsin.state.allowlist import AllowlistTable
from tocsin.web.console.render import actor, page, sent_on, told
from tocsin.web.form import Form, form_of
from tocsin.web.gate import GuardedRoute, protected
from tocsin.web.inside import Inside

_AUDITED: Final = 200
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
        return await self._listed(request, Form(()))

    async def _listed(self, request: Request, wanted: Form, error: str = "") -> Response:
        now = self.inside.clock.now()
        asked = {name: request.query_params.get(name, "").strip() for name in ("q", "effect", "role", "kind")}
        entries = (await self._table.load()).entries
        search = Search(text=asked["q"], effect=asked["effect"], role=asked["role"], kind=asked["kind"])
        shown = [entry for entry in entries if search.finds(entry, now)]
        return page(
            request, "allowlist", now, status=422 if error else 200, error=error, entries=shown, total=len(entries),
            asked=asked, wanted=wanted, roles=[*Role], expired=[entry.value for entry in shown if not entry.holds(now)],
        )  # fmt: skip

    async def add(self, request: Request) -> Response:
        """Add one; refused when it is there."""
        form = await form_of(request)
        try:
            await self._change(request, Put((self._entry(request, form),), only_new=True))
        except (BadAddress, ChangeRefused) as error:
            return await self._listed(request, form, str(error))
        return sent_on("/allowlist", "added")

    async def edit(self, request: Request) -> Response:
        """One entry, to be changed or removed."""
        entry = await self._one(request.query_params.get("value", ""))
        return page(request, "allowlist_entry", self.inside.clock.now(), entry=entry, roles=[*Role])

    async def change(self, request: Request) -> Response:
        """Change or remove it, by the button that was pressed."""
        form = await form_of(request)
        entry, now = await self._one(form.one("value")), self.inside.clock.now()
        removes = form.one("do") == "remove"
        try:
            await self._change(request, Remove((entry.value,)) if removes else Put((self._entry(request, form),)))
        except (BadAddress, ChangeRefused) as error:
            return page(request, "allowlist_entry", now, status=422, error=str(error), entry=entry, roles=[*Role])
        return sent_on("/allowlist", "removed" if removes else "changed")

    async def test(self, request: Request) -> Response:
        """May this address come in, and why?"""
        address, now = request.query_params.get("address", ""), self.inside.clock.now()
        ruling = Roll(await self._table.load()).ruling(address, now) if address else None
        return page(request, "allowlist_test", now, address=address, ruling=ruling)

    async def importing(self, request: Request) -> Response:
        """Paste, look at what it would do, then do it."""
        now = self.inside.clock.now()
        if request.method == "GET":
            return page(request, "allowlist_import", now, text="", prune=False, diff=None)
        form = await form_of(request)
        text, prune = form.one("text"), form.one("prune") == "yes"
        shown: dict[str, Any] = {"text": text, "prune": prune, "diff": None}
        try:
            entries = import_csv(text.encode(), _FILE, now, by=actor(request))
            diff = difference((await self._table.load()).entries, entries, prune=prune)
            wanted: Change = Replace(entries) if prune else Put(entries)
            sure = form.one("do") == "import"
            await self._change(request, wanted, dry_run=not sure)
        except (InputError, ChangeRefused) as error:
            return page(request, "allowlist_import", now, status=422, error=str(error), **shown)
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
        lines = await self._table.audit(value=request.query_params.get("value", ""), limit=_AUDITED, before=oldest)
        more = lines[-1].seq if len(lines) == _AUDITED else None
        return page(request, "allowlist_audit", self.inside.clock.now(), lines=lines, more=more)

    async def _one(self, value: str) -> Entry:
        found = next((entry for entry in (await self._table.load()).entries if entry.value == value), None)
        if found is None:
            raise HTTPException(404, f"{value} is not on the list; it may have been removed meanwhile")
        return found

    async def _change(self, request: Request, change: Change, *, dry_run: bool = False) -> None:
        await self._table.change(change, actor(request), self.inside.clock.now(), dry_run=dry_run)

    def _entry(self, request: Request, form: Form) -> Entry:
        """Raises BadAddress."""
        effect, role = form.one("effect", Effect.ALLOW), form.one("role")
        if effect not in [*Effect] or role not in ["", *Role]:
            raise BadAddress("effect is allow or deny, role viewer, operator, admin or none")
        return entry_of(
            form.one("value"), self.inside.clock.now(), by=actor(request), effect=Effect(effect),
            role=Role(role) if role else None, note=form.one("note").strip(), expires_at=_time(form.one("expires_at")),
        )  # fmt: skip


def _time(text: str) -> datetime | None:
    """What a form's field says, in UTC. Raises BadAddress."""
    if not text.strip():
        return None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise BadAddress(f"the end {text!r} is no time; write it like 2026-07-01T12:00, in UTC") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def allowlist_page_routes(inside: Inside) -> list[GuardedRoute]:
    """All of them."""
    pages = AllowlistPages(inside)
    scope, post = Scope.ALLOWLIST_WRITE, ("POST",)
    fields = ("value", "effect", "role", "note", "expires_at")
    return [
        protected("/allowlist", pages.list, scope, operation=told("Who may come in", "q", "effect", "role", "kind")),
        protected("/allowlist", pages.add, scope, methods=post, operation=told("Add an entry", *fields)),
        protected("/allowlist/entry", pages.edit, scope, operation=told("One entry", "value")),
        protected("/allowlist/entry", pages.change, scope, methods=post, operation=told("Change it", *fields, "do")),
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
