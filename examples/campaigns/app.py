"""The HTTP side: routes, and what each answers. Who may ask, errors and measures are tocsin.asgi's (`__main__`)."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from http import HTTPStatus
from typing import Any, Final

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from examples.campaigns.problems import Problem
from examples.campaigns.requests import MoreRecipients, NewCampaign, body_of, id_of, page_of
from examples.campaigns.store import Campaigns
from tocsin.asgi.database import Database

log = logging.getLogger("campaigns.http")

_JSON: Final = "application/json"


class Answer(Response):
    """A JSON body; times are RFC 3339 in UTC."""

    media_type = _JSON

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content, option=orjson.OPT_UTC_Z)


async def about(request: Request) -> Response:
    return Answer({"service": "campaigns", "campaigns": "/campaigns", "health": "/healthz"})


async def healthz(request: Request) -> Response:
    await _campaigns(request).ping()
    return Answer({"status": "ok"})


async def list_campaigns(request: Request) -> Response:
    page = page_of(request)
    found = await _campaigns(request).newest(page)
    more = found[-1]["id"] if len(found) == page.limit else None
    return Answer({"campaigns": found, "before": more})


async def create_campaign(request: Request) -> Response:
    created = await _campaigns(request).create(await body_of(request, NewCampaign))
    return Answer(created, status_code=HTTPStatus.CREATED, headers={"location": f"/campaigns/{created['id']}"})


async def read_campaign(request: Request) -> Response:
    return Answer(await _campaigns(request).read(id_of(request)))


async def add_recipients(request: Request) -> Response:
    asked = await body_of(request, MoreRecipients)
    return Answer(await _campaigns(request).add_recipients(id_of(request), asked.recipients))


async def launch(request: Request) -> Response:
    return Answer(await _campaigns(request).launch(id_of(request)))


async def pause(request: Request) -> Response:
    return Answer(await _campaigns(request).pause(id_of(request)))


async def progress(request: Request) -> Response:
    return Answer(await _campaigns(request).progress(id_of(request)))


async def report(request: Request) -> Response:
    return Answer(await _campaigns(request).report(id_of(request)))


def _campaigns(request: Request) -> Campaigns:
    campaigns: Campaigns = request.app.state.campaigns
    return campaigns


async def _answer_problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    return problem.response()


async def _answer_http(request: Request, found: Exception) -> Response:
    """404 and 405 of the router, in the same shape as ours."""
    assert isinstance(found, HTTPException)
    status = HTTPStatus(found.status_code)
    body = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": found.detail}
    return Answer(body, status_code=status, media_type="application/problem+json", headers=dict(found.headers or {}))


ROUTES: Final = (
    Route("/", about),
    Route("/healthz", healthz),
    Route("/campaigns", list_campaigns),
    Route("/campaigns", create_campaign, methods=["POST"]),
    Route("/campaigns/{id:int}", read_campaign),
    Route("/campaigns/{id:int}/recipients", add_recipients, methods=["POST"]),
    Route("/campaigns/{id:int}/launch", launch, methods=["POST"]),
    Route("/campaigns/{id:int}/pause", pause, methods=["POST"]),
    Route("/campaigns/{id:int}/progress", progress),
    Route("/campaigns/{id:int}/report", report),
)

Alongside = Callable[[], AbstractAsyncContextManager[None]]
"""Something that runs while the application does: the worker."""


def build_app(database: Database, *, alongside: Alongside | None = None) -> Starlette:
    """The application on `database`, which it opens and closes. What it does not handle is for the layers around it."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with database, alongside() if alongside is not None else nullcontext():
            yield

    app = Starlette(
        routes=list(ROUTES),
        lifespan=lifespan,
        exception_handlers={Problem: _answer_problem, HTTPException: _answer_http},
    )
    app.state.campaigns = Campaigns(database)
    return app
