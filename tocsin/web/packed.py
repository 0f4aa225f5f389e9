"""Bodies that come packed, as gzip, deflate or brotli: unpacked piece by piece, so that a bomb stops at the bound."""

from __future__ import annotations

import asyncio
import base64
import zlib
from collections.abc import Callable, Iterator
from typing import Final

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request

from tocsin.web.form import bounded_body

PACKED_BYTES: Final = 8 << 20
MOST_BYTES: Final = 32 << 20
"""Of a body, unpacked."""
_PIECE: Final = 1 << 20
"""Unpacked at a time. brotli takes it for a hint, and may make twice as much; zlib copies what is left each time."""

log = structlog.get_logger(__name__)


async def unpacked(request: Request) -> bytes:
    """The body, whether it came as gzip, deflate, brotli or plain. Raises HTTPException 400, 413 and 415."""
    coding = _coding(request)
    if coding in ("", "identity"):
        return await bounded_body(request, MOST_BYTES)
    if coding not in _PIECES:
        log.warning("ingest.encoding_refused", path=request.url.path, encoding=coding[:40])
        raise HTTPException(415, f"the body is encoded as {coding[:40]}; send gzip, deflate, br, or plain JSON")
    return await asyncio.to_thread(_whole, await bounded_body(request, PACKED_BYTES), _PIECES[coding])


async def unpacked_text(body: bytes) -> bytes:
    """What the zlib holds that `body` is the base64 of; `body` itself where it is none. Raises HTTPException 400, 413.

    The base64 of zlib (of a window of 32 KiB, as everybody makes it) begins with `e`, and no JSON does."""
    if not body.startswith(b"e"):
        return body
    return await asyncio.to_thread(_of_base64, body)


def first_bytes(request: Request, body: bytes, most: int) -> bytes:
    """The beginning of the request's body, unpacked; empty where it can't be."""
    pieces = _PIECES.get(_coding(request))
    if pieces is None:
        return body[:most]
    found = b""
    try:
        for piece in pieces(body):
            found += piece
            if len(found) >= most:
                break
    except ValueError:
        return b""
    return found[:most]


def _coding(request: Request) -> str:
    return request.headers.get("content-encoding", "").strip().lower()


def _whole(packed: bytes, pieces: Callable[[bytes], Iterator[bytes]]) -> bytes:
    found, size = [], 0
    try:
        for piece in pieces(packed):
            size += len(piece)
            if size > MOST_BYTES:
                raise HTTPException(413, f"the body unpacks to more than the {MOST_BYTES >> 20} MiB that are taken")
            found.append(piece)
    except ValueError as error:
        raise HTTPException(400, str(error)) from None
    return b"".join(found)


def _of_base64(text: bytes) -> bytes:
    try:
        packed = base64.b64decode(text.translate(None, b"\r\n"), validate=True)
    except ValueError:
        return text
    return _whole(packed, _of_zlib)


def _of_gzip(packed: bytes) -> Iterator[bytes]:
    """Raises ValueError that says what is wrong with it."""
    return _inflated(packed, 31, "gzip")


def _of_zlib(packed: bytes) -> Iterator[bytes]:
    """What HTTP calls deflate (RFC 9110, 8.4.1.2). Raises ValueError that says what is wrong with it."""
    return _inflated(packed, zlib.MAX_WBITS, "zlib")


def _inflated(packed: bytes, bits: int, what: str) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=bits)
    try:
        while packed and not unpacker.eof:
            yield unpacker.decompress(packed, _PIECE)
            packed = unpacker.unconsumed_tail
    except zlib.error as error:
        raise ValueError(f"the body is not {what}: {error}") from None
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError(f"the body is cut off, or more than one {what}")


def _of_brotli(packed: bytes) -> Iterator[bytes]:
    """Raises ValueError that says what is wrong with it."""
    import brotli  # only a sender that packs so needs it

    unpacker = brotli.Decompressor()
    try:
        piece = unpacker.process(packed, output_buffer_limit=_PIECE)
        while piece:
            yield piece
            piece = b"" if unpacker.is_finished() else unpacker.process(b"", output_buffer_limit=_PIECE)
    except brotli.error:
        raise ValueError("the body is not brotli, or more than that") from None
    if not unpacker.is_finished():
        raise ValueError("the body is cut off")


_PIECES: Final = {"gzip": _of_gzip, "x-gzip": _of_gzip, "deflate": _of_zlib, "br": _of_brotli}
