"""With `series.engine: {prometheus: URL}` that server answers what is asked of the series: it holds them all.

Its answer is passed on as it came, errors included, so that Grafana and scripts see what the rules see. What keeps it
from answering (no connection, a deadline, our credentials refused, a page that is no Prometheus API) is an error of
ours, 503 `unavailable`, and names the server and the key to look at. Rules and alerts are Tocsin's own, whoever
evaluates them. Which server it is is asked at every request: a reload may change it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from tocsin.promql import CANCELED
from tocsin.series.remote.engine import Engine, Forwarded, Unreachable
from tocsin.tasks import end_tasks
from tocsin.web.form import form_of
from tocsin.web.gate import Endpoint
from tocsin.web.inside import Inside
from tocsin.web.prometheus.answers import ApiError
from tocsin.web.reading import Canceled
from tocsin.web.streaming import Body, respond

_READ_ONLY: Final = ("label/", "metadata", "status/")
"""What Prometheus itself answers by GET alone."""
_FRESH: Final = {"nocache": "1", "latency_offset": "1ms"}
"""A person sees the samples that the rules see: VictoriaMetrics would leave out the last 30 seconds."""


def forwarded(inside: Inside, endpoint: Endpoint) -> Endpoint:
    """The endpoint, asked of the engine's server where there is one."""

    @wraps(endpoint)
    async def answered(request: Request) -> Response:
        engine = inside.engine()
        if engine is None:
            return await endpoint(request)
        what = request.scope["path"].partition("/api/v1/")[2]
        pairs = (await form_of(request)).pairs
        if what in ("query", "query_range"):
            pairs += tuple((name, value) for name, value in _FRESH.items() if name not in dict(pairs))
        method = "GET" if what.startswith(_READ_ONLY) else "POST"
        answer = await _while_wanted(request, lambda: engine.forward(what, pairs, method=method))
        _refuse_what_is_no_answer(engine, answer)
        return respond(request, Body.begun(iter((answer.body,))), status=answer.status)

    return answered


async def _while_wanted(request: Request, ask: Callable[[], Awaitable[Forwarded]]) -> Forwarded:
    """The server's answer. Raises Canceled when the client goes away, ApiError when the server can't be asked."""
    asking = asyncio.ensure_future(ask())
    leaving = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((asking, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not asking.done():
            raise Canceled(CANCELED)
        return asking.result()
    except Unreachable as error:
        raise ApiError("unavailable", f"{error}; see series.engine.prometheus") from None
    finally:
        await end_tasks(asking, leaving)


async def _gone(request: Request) -> None:
    """Until the client hangs up. The body has been read by now."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _refuse_what_is_no_answer(engine: Engine, answer: Forwarded) -> None:
    """Raises ApiError where the answer isn't the API's: its status would say something false of this port."""
    said = f"{engine.url} answered HTTP {answer.status}"
    if answer.status in (401, 403):
        why = f"{said}: it does not take our credentials; see series.engine.bearer_token and series.engine.headers"
        raise ApiError("unavailable", why)
    try:
        known = "status" in orjson.loads(answer.body)
    except (orjson.JSONDecodeError, TypeError):
        known = False
    if not known:
        text = answer.body[:200].decode("utf-8", "replace").strip()
        why = f"{said}, and not as a Prometheus API does: {text!r}; see series.engine.prometheus"
        raise ApiError("unavailable", why)
