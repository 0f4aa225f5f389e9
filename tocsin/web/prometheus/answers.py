"""Answers and errors of the API: the envelope around `data`, and the HTTP code of each kind of error.

Source: prometheus/web/api/v1/api.go, respond and respondError.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from functools import wraps
from typing import Any, Final

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tocsin.errors import EvaluationError, StateError, TocsinError
from tocsin.web.gate import Endpoint
from tocsin.web.prometheus.encoding import escaped
from tocsin.web.reading import Canceled, TimedOut
from tocsin.web.streaming import Body, respond

TRUNCATED: Final = "results truncated due to limit"

_CODES: Final = {
    "bad_data": 400,
    "execution": 422,
    "canceled": 503,
    "timeout": 503,
    "unavailable": 503,
    "not_found": 404,
    "internal": 500,
}


class ApiError(TocsinError):
    """The request can't be answered; `kind` is the API's errorType."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def invalid(parameter: str, why: str) -> ApiError:
    """A parameter that can't be used."""
    return ApiError("bad_data", f'invalid parameter "{parameter}": {why}')


def envelope(data: Iterable[bytes], *, warnings: Sequence[str] = (), infos: Sequence[str] = ()) -> Iterator[bytes]:
    """The whole answer around the pieces of its data."""
    yield b'{"status":"success","data":'
    yield from data
    for name, texts in (("warnings", warnings), ("infos", infos)):
        if texts:
            yield b',"' + name.encode() + b'":' + escaped(orjson.dumps(list(texts)))
    yield b"}"


def success(request: Request, data: Any, *, warnings: Sequence[str] = ()) -> Response:
    """An answer of plain values."""
    return respond(request, Body.begun(envelope((escaped(orjson.dumps(data)),), warnings=warnings)))


def _failure(request: Request, kind: str, message: str, status: int | None = None) -> Response:
    text = message.encode("utf-8", "replace").decode()
    body = escaped(orjson.dumps({"status": "error", "errorType": kind, "error": text}))
    return respond(request, Body.begun(iter((body,))), status=status or _CODES[kind])


def answering(endpoint: Callable[[Request], Awaitable[Response]]) -> Endpoint:
    """The endpoint, with its errors told as the API tells them."""

    @wraps(endpoint)
    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ApiError as error:
            return _failure(request, error.kind, str(error))
        except TimedOut as error:
            return _failure(request, "timeout", str(error))
        except Canceled as error:
            return _failure(request, "canceled", str(error))
        except EvaluationError as error:
            return _failure(request, "execution", str(error))
        except StateError as error:
            return _failure(request, "unavailable", str(error))
        except HTTPException as error:
            return _failure(request, "bad_data", str(error.detail), error.status_code)

    return answered
