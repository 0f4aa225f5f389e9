"""Asks an ASGI application without a socket: one request, one answer.

answer = await ask(app, "GET", "/api/v1/query?query=up", token=clear)
assert (answer.status, answer.json()["status"]) == (200, "success")
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlencode, urlsplit

import orjson

FORM: Final = "application/x-www-form-urlencoded"


class Application(Protocol):
    """An ASGI application."""

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None: ...


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """By name in lower case; of several of one name the last."""
    body: bytes
    """As sent, compressed or not."""
    pieces: int = 1
    """In how many messages the body came."""
    cookies: tuple[str, ...] = ()
    """Each Set-Cookie, whole."""

    @property
    def content(self) -> bytes:
        """The body, unpacked."""
        return gzip.decompress(self.body) if self.headers.get("content-encoding") == "gzip" else self.body

    def json(self) -> Any:
        """The value of a JSON body."""
        return orjson.loads(self.content)


async def ask(
    app: Application, method: str, target: str, *, token: str = "", headers: Mapping[str, str] | None = None,
    more_headers: list[tuple[str, str]] | None = None, form: list[tuple[str, str]] | None = None, json: Any = None,
    body: bytes = b"", gone: asyncio.Event | None = None,
) -> Answer:  # fmt: skip
    """One request. `form` and `json` make the body; `gone`: the client hangs up when it is set."""
    given = [*(headers or {}).items(), *(more_headers or [])]
    if token:
        given.append(("Authorization", f"Bearer {token}"))
    if form is not None:
        body = urlencode(form).encode()
        given.append(("Content-Type", FORM))
    if json is not None:
        body = orjson.dumps(json)
        given.append(("Content-Type", "application/json"))
    parts = urlsplit(target)
    scope: dict[str, Any] = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": method,
        "scheme": "http", "path": unquote(parts.path), "raw_path": parts.path.encode(), "root_path": "",
        "query_string": parts.query.encode(), "server": ("testserver", 80), "client": ("testclient", 50000),
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in given],
    }  # fmt: skip
    sent: list[MutableMapping[str, Any]] = []
    asked = False
    hangs_up = gone or asyncio.Event()

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": body, "more_body": False}
        await hangs_up.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    pieces = [message.get("body", b"") for message in sent[1:]]
    return Answer(
        status=sent[0]["status"],
        headers={name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]},
        body=b"".join(pieces),
        pieces=sum(bool(piece) for piece in pieces),
        cookies=tuple(value.decode("latin-1") for name, value in sent[0]["headers"] if name == b"set-cookie"),
    )
