"""Metrics for Prometheus, on a path of their own, for whoever shows the token.

A scraper can't sign in with Supabase, so the path stands in front of access and takes one bearer token, compared in
constant time. It is neither measured nor logged. Without a token it isn't there: serve `/metrics` by the application
then, behind access or on another port (`prometheus_client.start_http_server(port, "127.0.0.1")`).

Exemplars are part of OpenMetrics only; a scraper that asks for it gets them. With PROMETHEUS_MULTIPROC_DIR the series
of all workers are joined, without the gauges of those that are gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder

from tocsin.asgi.arguments import has, wrong
from tocsin.asgi.call import App, Receive, Scope, Send
from tocsin.asgi.settings import LEAST_TOKEN


class Exposition:
    """ASGI middleware that answers one path."""

    def __init__(
        self, app: App, token: str, *, path: str = "/metrics", registry: CollectorRegistry | None = None
    ) -> None:
        """Raises ValueError for a token that can be guessed."""
        if not isinstance(token, str):
            raise wrong("Exposition(token=…)", "a text", token)
        if not path.startswith("/"):
            raise ValueError(f"Exposition(path=…) begins with a /, not {path!r}")
        if registry is not None:
            has("Exposition(registry=…)", registry, ("collect",), "a prometheus_client.CollectorRegistry")
        if len(token) < LEAST_TOKEN:
            raise ValueError(
                f"the metrics token has fewer than {LEAST_TOKEN} characters; make one: openssl rand -hex 32"
            )
        self._app = app
        self._wanted = token.encode()
        self._path = path
        self._registry = registry or REGISTRY

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != self._path:
            await self._app(scope, receive, send)
            return
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, shown = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        # The scheme's case is the client's choice. RFC 9110 §11.1
        if not hmac.compare_digest(shown.strip(), self._wanted) or scheme.lower() != b"bearer":
            await _answer(send, 401, [(b"www-authenticate", b'Bearer realm="metrics"')], b"")
            return
        if scope["method"] not in ("GET", "HEAD"):
            await _answer(send, 405, [(b"allow", b"GET, HEAD")], b"")
            return
        accept = next((value for name, value in scope["headers"] if name == b"accept"), b"").decode("latin-1")
        encode, media = choose_encoder(accept)
        # Thousands of series take a while to write down; requests need not wait for that.
        body: bytes = await asyncio.to_thread(lambda: encode(self._collected()))
        await _answer(send, 200, [(b"content-type", media.encode())], b"" if scope["method"] == "HEAD" else body)

    def _collected(self) -> CollectorRegistry:
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return self._registry
        from prometheus_client.multiprocess import MultiProcessCollector

        forget_the_dead(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
        joined = CollectorRegistry()
        MultiProcessCollector(joined)  # type: ignore[no-untyped-call]
        return joined


def forget_the_dead(folder: Path) -> None:
    """Of a worker that was killed, requests in flight would stay in the sum for ever. Servers that tell of a worker's
    end (gunicorn's child_exit) are not the only ones, so it is looked for. Its counters stay, as they must."""
    from prometheus_client.multiprocess import mark_process_dead

    for file in folder.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdigit() and not _lives(int(pid)):
            with contextlib.suppress(FileNotFoundError):  # another worker was quicker
                mark_process_dead(int(pid), str(folder))  # type: ignore[no-untyped-call]


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    headers = [*headers, (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
