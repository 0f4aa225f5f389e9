"""Answers as they are made: small ones whole, large ones piece by piece, compressed for clients that take gzip.

The pieces come from a generator that runs in a worker thread, compression included, so that a large answer costs the
daemon's loop no more than passing bytes on.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

PIECE: Final = 64 * 1024
_WORTH: Final = 1024
"""Bytes from which compressing pays."""
_LEVEL: Final = 4


@dataclass(frozen=True)
class Body:
    """The bytes of an answer: the first piece made, the rest to be."""

    first: bytes
    rest: Iterator[bytes]
    whole: bool
    """True when there is no rest."""

    @classmethod
    def begun(cls, parts: Iterator[bytes]) -> Body:
        """Make the first piece now: where the work of making it is to be done."""
        pieces = _pieces(parts)
        first = next(pieces, b"")
        second = next(pieces, None)
        if second is None:
            return cls(first, iter(()), True)
        return cls(first, chain((second,), pieces), False)


def _pieces(parts: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces of about PIECE."""
    held: list[bytes] = []
    size = 0
    for part in parts:
        held.append(part)
        size += len(part)
        if size >= PIECE:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def takes_gzip(request: Request) -> bool:
    """True when the client says that it does: `gzip` or `*`, not weighed 0."""
    for offer in ",".join(request.headers.getlist("accept-encoding")).split(","):
        name, _, weight = offer.partition(";")
        if name.strip().lower() in ("gzip", "*"):
            value = weight.strip().lower().removeprefix("q=").strip()
            try:
                return not weight.strip() or float(value) > 0
            except ValueError:
                return False
    return False


def _compressed(parts: Iterator[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
    for part in parts:
        if packed := packer.compress(part):
            yield packed
    yield packer.flush()


def respond(request: Request, body: Body, *, status: int = 200, media: str = "application/json") -> Response:
    """The answer with this body."""
    headers = {"Vary": "Accept-Encoding"}
    parts: Iterator[bytes] = chain((body.first,), body.rest)
    if takes_gzip(request) and (not body.whole or len(body.first) >= _WORTH):
        headers["Content-Encoding"] = "gzip"
        parts = _compressed(parts)
    if body.whole:
        return Response(b"".join(parts), status, headers=headers, media_type=media)
    return StreamingResponse(parts, status, headers=headers, media_type=media)
