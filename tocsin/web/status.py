"""/healthz and /readyz, a word each and for anyone; /metrics, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from tocsin.access.tokens import Scope
from tocsin.model import Labels
from tocsin.promql import Limits, Round, Storage, Vector, compile_expr
from tocsin.telemetry.metrics import JOB
from tocsin.web.exposition import CONTENT_TYPE, exposition
from tocsin.web.gate import GuardedRoute, Operation, protected, public
from tocsin.web.inside import Inside
from tocsin.web.streaming import Body, respond

_EVERYTHING = compile_expr('{__name__!=""}')


def status_routes(inside: Inside) -> list[GuardedRoute]:
    """The three routes."""

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        why = inside.ready()
        if why:
            return PlainTextResponse(f"{why}\n", 503)
        return PlainTextResponse("ready, follows\n" if inside.leader() else "ready\n")

    async def metrics(request: Request) -> Response:
        now = inside.clock.now()

        def work(storage: Storage, limits: Limits) -> list[tuple[Labels, float]]:
            found = Round(storage, now, limits=limits).evaluate(_EVERYTHING)
            return list(found) if isinstance(found, Vector) else []

        latest: Iterable[tuple[Labels, float]] = await inside.reader.run(work, request=request)
        page = exposition(inside.telemetry.registry, latest, inside.declared(), JOB)
        return respond(request, Body.begun(iter((page,))), media=CONTENT_TYPE)

    def told(summary: str) -> Operation:
        return Operation(summary=summary, tag="Status", media="text/plain")

    return [
        public("/healthz", healthz, told("Is the daemon alive?")),
        public("/readyz", readyz, told("Does it watch? 503 and a word while it does not")),
        protected("/metrics", metrics, Scope.METRICS_READ, operation=told("Tocsin's own and the collected series")),
    ]
