"""What a layer needs that is tested alone: a request and a client without a server, an application that is fine."""

from __future__ import annotations

from typing import Any


def scope(path: str, method: str = "GET", headers: Any = ()) -> dict[str, Any]:
    return {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "root_path": "", "scheme": "http",
        "query_string": b"", "headers": list(headers), "http_version": "1.1", "state": {},
    }  # fmt: skip


async def nothing() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def nowhere(_: Any) -> None: ...


class Client:
    """Remembers what an application sent."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []

    async def send(self, message: Any) -> None:
        self.said.append(message)

    @property
    def status(self) -> int:
        return int(self.said[0]["status"])

    def header(self, name: bytes) -> bytes:
        return dict(self.said[0]["headers"])[name]  # type: ignore[no-any-return]


async def ok(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"fine"})
