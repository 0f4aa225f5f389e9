"""Has the asker got it already? `If-None-Match` and `If-Modified-Since`, answered by 304. Pure, but for `Conditional`.

https://www.rfc-editor.org/rfc/rfc9110#section-13.2.2 says which counts, and
https://www.rfc-editor.org/rfc/rfc9110#section-15.4.5 what a 304 bears.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from typing import Final

from tocsin.asgi.call import Message, Send
from tocsin.model import Seconds

Headers = Iterable[tuple[bytes, bytes]]
CONDITIONS: Final = frozenset({b"if-none-match", b"if-modified-since"})
_TAG: Final = re.compile(rb'(?:W/)?("[^"]*")')
_OF_THE_BODY: Final = frozenset(
    {
        b"content-type", b"content-length", b"content-encoding", b"content-language", b"content-range",
        b"transfer-encoding", b"trailer",
    }
)  # fmt: skip


def date_of(value: bytes) -> Seconds | None:
    """An HTTP date as seconds since 1970; None for what is none."""
    try:
        return parsedate_to_datetime(value.decode("ascii")).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def without_conditions(headers: Headers) -> list[tuple[bytes, bytes]]:
    """What asks for the answer whoever has it."""
    return [(name, value) for name, value in headers if name not in CONDITIONS]


def is_unchanged(asked: Headers, status: int, answered: Headers) -> bool:
    """Whether who asked with the headers `asked` has the answer. By modification time it is the answer's Last-Modified
    alone: of one that has none nobody knows what changed within the second it was made in."""
    matches = [value for name, value in asked if name == b"if-none-match"]
    since = [value for name, value in asked if name == b"if-modified-since"]
    if not (matches or since) or not 200 <= status < 300:
        return False
    if matches:  # then the other does not count
        listed = b",".join(matches)
        if listed.strip() == b"*":
            return True
        tag = _TAG.fullmatch(_of(answered, b"etag"))
        return tag is not None and tag[1] in _TAG.findall(listed)  # weakly: W/ makes no difference
    made, known = date_of(_of(answered, b"last-modified")), date_of(since[0]) if len(since) == 1 else None
    return made is not None and known is not None and made <= known


def not_modified(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Of an answer's headers what its 304 bears: Last-Modified only where nothing better is there."""
    kept = [(bytes(name), bytes(value)) for name, value in headers if bytes(name).lower() not in _OF_THE_BODY]
    if _of(kept, b"etag"):
        kept = [(name, value) for name, value in kept if name.lower() != b"last-modified"]
    return kept


def _of(headers: Headers, wanted: bytes) -> bytes:
    return next((bytes(value).strip() for name, value in headers if bytes(name).lower() == wanted), b"")


class Conditional:
    """`send` for who asked with conditions, of which the application was not told: it makes the answer for all."""

    def __init__(self, asked: Headers, send: Send) -> None:
        self._asked, self._send = asked, send
        self._has_it = False

    async def __call__(self, message: Message) -> None:
        """The answer, or a 304 whose end is the answer's: who streams may look whether somebody is still there."""
        if message["type"] == "http.response.start":
            headers = message.get("headers", ())
            self._has_it = is_unchanged(self._asked, message["status"], headers)
            if self._has_it:
                message = {"type": "http.response.start", "status": 304, "headers": not_modified(headers)}
        elif self._has_it:
            if message.get("more_body", False) or message["type"] == "http.response.trailers":
                return
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)
