"""Faults on demand: an ASGI layer that the demo puts around the application, inside of its others, and nobody else.

It exists only where `CAMPAIGNS_FAULTS` holds a secret of at least 16 characters and the server listens on loopback;
the application inside knows nothing of it. Every call carries the secret as `X-Faults-Secret`:

    PUT    /-/faults/slow   {"path": "/campaigns", "seconds": 1.5}    that path answers that much later
    PUT    /-/faults/error  {"path": "/campaigns"}                    that path raises, so it answers 500
    POST   /-/faults/query  {"seconds": 1.5}                          the application's role runs a statement that long
    DELETE /-/faults                                                  all is well again

The error is raised where the route's handler is about to answer, so it takes the way of a real bug: traceback and route
template in the log, a plain 500 to the caller.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from http import HTTPStatus
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tocsin.asgi import Unavailable
from tocsin.asgi.database import Database

log = logging.getLogger("campaigns.faults")

PREFIX: Final = "/-/faults"
SECRET_HEADER: Final = "x-faults-secret"
SECRET_LENGTH: Final = 16
CONTROLS: Final = frozenset({"PUT", "POST", "DELETE"})
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1"})

Wait = Annotated[float, Field(gt=0, le=60)]


class _Fault(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Slow(_Fault):
    path: str = Field(pattern=r"^/")
    seconds: Wait


class Error(_Fault):
    path: str = Field(pattern=r"^/")


class Query(_Fault):
    seconds: Wait


class InjectedFault(RuntimeError):
    """An error that was asked for."""


class FaultInjection:
    """`app`, with the faults that were asked for."""

    def __init__(self, app: ASGIApp, database: Database, secret: str) -> None:
        if len(secret) < SECRET_LENGTH:
            raise ValueError(f"the faults' secret needs at least {SECRET_LENGTH} characters")
        self._app = app
        self._database = database
        self._secret = secret.encode()
        self._slow: dict[str, float] = {}
        self._broken: set[str] = set()
        self._statements: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = scope["path"]
        if path == PREFIX or path.startswith(PREFIX + "/"):
            await (await self._control(Request(scope, receive)))(scope, receive, send)
            return
        if wait := self._slow.get(path):
            await asyncio.sleep(wait)
        await self._app(scope, receive, self._breaking(path) if path in self._broken else send)

    def _breaking(self, path: str) -> Send:
        async def answer(message: Message) -> None:
            raise InjectedFault(f"{path} was told to fail")

        return answer

    async def _control(self, request: Request) -> Response:
        given = request.headers.get(SECRET_HEADER, "").encode()
        peer = request.client.host if request.client else ""
        if peer not in _LOOPBACK or not hmac.compare_digest(given, self._secret):
            # As for any path that is not there: a caller without the secret learns nothing.
            return JSONResponse({"status": 404, "title": "Not Found"}, status_code=HTTPStatus.NOT_FOUND)
        try:
            return await self._act(request)
        except ValidationError as found:
            return JSONResponse(
                {"status": 422, "errors": found.errors(include_url=False, include_context=False)}, status_code=422
            )

    async def _act(self, request: Request) -> Response:
        match request.method, request.url.path.removeprefix(PREFIX):
            case "PUT", "/slow":
                slow = Slow.model_validate_json(await request.body())
                self._slow[slow.path] = slow.seconds
            case "PUT", "/error":
                self._broken.add(Error.model_validate_json(await request.body()).path)
            case "POST", "/query":
                query = Query.model_validate_json(await request.body())
                task = asyncio.create_task(self._run_statement(query.seconds), name="campaigns.faults.query")
                # Held, because the loop keeps only a weak reference to a task.
                self._statements.add(task)
                task.add_done_callback(self._statements.discard)
            case "DELETE", "":
                self._slow.clear()
                self._broken.clear()
            case _:
                return JSONResponse({"status": 404, "title": "Not Found"}, status_code=HTTPStatus.NOT_FOUND)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _run_statement(self, seconds: float) -> None:
        try:
            async with self._database.connection() as connection:
                await connection.execute("select count(*), pg_sleep(%s) from sends", (seconds,))
        except Unavailable as error:
            log.warning("the slow statement ended early: %s", error)
