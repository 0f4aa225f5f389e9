"""What a client is told when a layer answers: RFC 9457 problem documents, of one text per status.

`request_id` is in the document so that a user can quote it; everything else about what went wrong is in the log.
"""

from __future__ import annotations

from http import HTTPStatus
from math import ceil
from typing import ClassVar, Final

import orjson

from tocsin.asgi.call import Call, Send
from tocsin.errors import TocsinError
from tocsin.model import Seconds

DETAILS: Final = {
    413: "The body is larger than this service takes.",
    500: "This is our mistake. It has been logged.",
    503: "The service has more to do than it can. Try again soon.",
    504: "The answer took too long, and was given up.",
}
MEDIA_TYPE: Final = b"application/problem+json"
Headers = list[tuple[bytes, bytes]]


class Unavailable(TocsinError):
    """It can't be done now, and may work in a moment: the layers answer 503 with Retry-After."""

    reason: ClassVar[str] = "unavailable"
    """For series: one word."""
    retry_after: ClassVar[Seconds] = 1.0


def meant_by(error: BaseException | None) -> tuple[int, Headers] | None:
    """The answer that an exception itself asks for; None: it is nothing but wrong."""
    if isinstance(error, Unavailable):
        return 503, [(b"retry-after", str(ceil(error.retry_after)).encode())]
    return None


async def answer(call: Call, send: Send, status: int, *, headers: Headers | None = None) -> None:
    """Send a problem document; to a WebSocket that isn't accepted yet, a refusal."""
    start = "http.response"
    if call.scope["type"] == "websocket":
        if "websocket.http.response" not in (call.scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": 1013 if status == 503 else 1011})
            return
        start = "websocket.http.response"
    phrase = HTTPStatus(status).phrase
    body = orjson.dumps(
        {
            "type": "about:blank",
            "title": phrase,
            "status": status,
            "detail": DETAILS.get(status, phrase),
            "request_id": call.request_id,
        }
    )
    sent: Headers = [
        (b"content-type", MEDIA_TYPE),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *(headers or ()),
    ]
    await send({"type": f"{start}.start", "status": status, "headers": sent})
    await send({"type": f"{start}.body", "body": b"" if call.scope.get("method") == "HEAD" else body})
