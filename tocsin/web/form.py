"""What a request says: query string and form-encoded body as one, or a body of JSON; bounded in size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request

FORM_BYTES: Final = 1 << 20
JSON_BYTES: Final = 32 << 20
_FIELDS: Final = 10_000
_URLENCODED: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Form:
    """Names and values, in the order in which they came; a body's come before the query string's (as in Go)."""

    pairs: tuple[tuple[str, str], ...]

    def one(self, name: str, default: str = "") -> str:
        """The first value of `name`."""
        return next((value for each, value in self.pairs if each == name), default)

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of `name`."""
        return tuple(value for each, value in self.pairs if each == name)

    def __contains__(self, name: str) -> bool:
        return any(each == name for each, _ in self.pairs)


async def form_of(request: Request) -> Form:
    """The request's parameters. Raises HTTPException 400 and 413."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await bounded_body(request, FORM_BYTES) if request.method == "POST" else b""
    text = body.decode("utf-8", "replace") if kind == _URLENCODED else ""
    query = request.scope["query_string"].decode("latin-1")
    try:
        pairs = [
            pair
            for part in (text, query)
            for pair in parse_qsl(part, keep_blank_values=True, errors="replace", max_num_fields=_FIELDS)
        ]
    except ValueError:
        raise HTTPException(400, f"there are more than {_FIELDS} parameters") from None
    return Form(tuple(pairs))


async def bounded_body(request: Request, most: int) -> bytes:
    """The body, of at most so many bytes. Raises HTTPException 413."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise HTTPException(413, f"the body has more than the {most >> 20} MiB that are taken")
        parts.append(part)
    return b"".join(parts)


async def json_of(request: Request) -> Any:
    """The value of the body. Raises HTTPException 400 and 413."""
    body = await bounded_body(request, JSON_BYTES)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from None


async def object_of(request: Request) -> Mapping[str, Any]:
    """The members of the body, which is one JSON object; an empty body is an empty one. Raises HTTPException."""
    body = await bounded_body(request, FORM_BYTES)
    if not body.strip():
        return {}
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise HTTPException(400, "the body must be a JSON object")
    return value
