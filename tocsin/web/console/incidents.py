"""Incidents: the list, the story of one, and the two things one does about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tocsin.access.tokens import Scope
from tocsin.model import IncidentState
from tocsin.state.inbox import Ack, Refusal, Resolve
from tocsin.web.console.render import page, sent_on, told
from tocsin.web.form import form_of
from tocsin.web.gate import GuardedRoute, actor_of, protected
from tocsin.web.inside import Inside

_SHOWN: Final = 200
_MOST_WHY: Final = 2000


@dataclass(frozen=True)
class IncidentPages:
    """The handlers."""

    inside: Inside

    async def list(self, request: Request) -> Response:
        """The worst first, then the newest; `state=all` has those that ended, too, after them."""
        state = request.query_params.get("state", "open")
        found = await self.inside.state.history.worst(open_only=state != "all", limit=_SHOWN)
        return page(request, "incidents", self.inside.clock.now(), incidents=found, state=state, most=_SHOWN)

    async def show(self, request: Request, error: str = "") -> Response:
        """One with all that was decided and said."""
        id = request.path_params["id"]
        story = await self.inside.state.history.story(id)
        if story is None:
            raise HTTPException(404, f"there is no incident {id}; /incidents?state=all lists those there are")
        context = {"error": error} if error else {}
        return page(
            request, "incident", self.inside.clock.now(), status=409 if error else 200, story=story,
            incident=story.incident, ended=story.incident.state is IncidentState.RESOLVED, **context,
        )  # fmt: skip

    async def ack(self, request: Request) -> Response:
        """Take it."""
        return await self._do(request, Ack(incident=request.path_params["id"], by=actor_of(request)), "acked")

    async def resolve(self, request: Request) -> Response:
        """Close it, whatever its alerts do."""
        why = (await form_of(request)).one("why")[:_MOST_WHY]
        wanted = Resolve(incident=request.path_params["id"], by=actor_of(request), why=why)
        return await self._do(request, wanted, "resolved")

    async def _do(self, request: Request, wanted: Ack | Resolve, done: str) -> Response:
        try:
            await self.inside.errands.do(wanted)
        except Refusal as error:
            return await self.show(request, str(error))
        return sent_on(f"/incidents/{wanted.incident}", done)


def incident_page_routes(inside: Inside) -> list[GuardedRoute]:
    """All of them."""
    pages = IncidentPages(inside)
    read, write, post = Scope.ALERTS_READ, Scope.INCIDENTS_WRITE, ("POST",)
    return [
        protected("/incidents", pages.list, read, operation=told("Incidents", "state")),
        protected("/incidents/{id}", pages.show, read, operation=told("The story of one incident", "done")),
        protected("/incidents/{id}/ack", pages.ack, write, methods=post, operation=told("Take it")),
        protected("/incidents/{id}/resolve", pages.resolve, write, methods=post, operation=told("Close it", "why")),
    ]
