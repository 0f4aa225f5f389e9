"""The first page, runbooks, and who you are."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tocsin.access.tokens import Scope
from tocsin.model import Alert, AlertState, Labels
from tocsin.promql import Limits, Round, Storage, Vector, compile_expr
from tocsin.web.console.render import page, told
from tocsin.web.gate import GuardedRoute, protected
from tocsin.web.inside import Inside

_MOST_ALERTS: Final = 200
_UP: Final = compile_expr("tocsin_collector_up")
_RUNBOOK: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
_LINK: Final = re.compile(r"\[([A-Za-z0-9_-]{1,100})\]\(\1\.md\)")
_INDEX: Final = "README"


@dataclass(frozen=True)
class Overview:
    """The handlers."""

    inside: Inside

    async def start(self, request: Request) -> Response:
        """What is wrong now; empty sections say that nothing is."""
        inside, now = self.inside, self.inside.clock.now()
        pipeline = inside.pipeline
        every = {**pipeline.rules.all_alerts(), **pipeline.external.alerts}.values()
        firing = sorted((each for each in every if each.state is AlertState.FIRING), key=_worst_first)
        return page(
            request, "overview", now,
            incidents=sorted(pipeline.book.open, key=lambda each: (each.severity.rank, each.opened_at)),
            firing=firing[:_MOST_ALERTS],
            more=max(0, len(firing) - _MOST_ALERTS),
            pending=sum(each.state is AlertState.PENDING for each in every),
            blind=[spot for source in pipeline.sources.values() for spot in source.spots],
            collectors=await self._collectors(request, now),
            dead=await inside.state.history.dead_letters(10),
            not_ready=inside.ready(),
            recorded=pipeline.is_recorded,
        )  # fmt: skip

    async def _collectors(self, request: Request, now: datetime) -> list[tuple[str, bool]]:
        """(name, whether its last poll was good), by name."""

        def work(storage: Storage, limits: Limits) -> list[tuple[Labels, float]]:
            found = Round(storage, now, limits=limits).evaluate(_UP)
            return list(found) if isinstance(found, Vector) else []

        found = await self.inside.reader.run(work, request=request)
        return sorted((labels.get("job", ""), value == 1.0) for labels, value in found)

    async def account(self, request: Request) -> Response:
        """Who you are here."""
        return page(request, "account", self.inside.clock.now())


@dataclass(frozen=True)
class Runbooks:
    """The pages of the folder `runbooks`, as they are written."""

    inside: Inside
    folder: Callable[[], Path]

    async def index(self, request: Request) -> Response:
        """Their names, and above them the way from a symptom to one, where the folder has it."""
        names = sorted(file.stem for file in self.folder().glob("*.md"))
        index = _INDEX if _INDEX in names else ""
        return page(
            request, "runbooks", self.inside.clock.now(), names=[name for name in names if name != _INDEX], index=index
        )

    async def show(self, request: Request) -> Response:
        """One of them."""
        name = request.path_params["name"].removesuffix(".md")
        file = self.folder() / f"{name}.md"
        if not _RUNBOOK.fullmatch(name) or not file.is_file():
            raise HTTPException(404, f"there is no runbook {name}; /runbooks lists those there are")
        text = file.read_text(encoding="utf-8", errors="replace")
        return page(request, "runbook", self.inside.clock.now(), name=name, parts=linked(text))


def linked(text: str) -> tuple[tuple[str, str], ...]:
    """The text in pieces, each with the runbook that it links to: `[Name](Name.md)`; "" for none."""
    pieces = _LINK.split(text)
    return tuple((piece, piece if number % 2 else "") for number, piece in enumerate(pieces) if piece)


def _worst_first(alert: Alert) -> tuple[int, Any, str]:
    return (alert.severity.rank, alert.active_at, alert.name)


def overview_routes(inside: Inside) -> list[GuardedRoute]:
    """All of them."""
    overview, runbooks = Overview(inside), Runbooks(inside, inside.runbooks)
    read = Scope.ALERTS_READ
    return [
        protected("/", overview.start, read, operation=told("What is wrong now", "done")),
        protected("/runbooks", runbooks.index, read, operation=told("Runbooks")),
        protected("/runbooks/{name}", runbooks.show, read, operation=told("One runbook")),
        protected("/account", overview.account, operation=told("Who you are here")),
    ]
