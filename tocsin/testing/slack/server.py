"""The stand-in Slack over HTTP: the Web API, faults, a journal of calls, and the channel as a page.

In a test:
    async with FakeSlack() as slack:
        slack.inject("chat.postMessage", Kind.PROCESS_THEN_RESET)
        client = AsyncWebClient(token=slack.token, base_url=slack.base_url, retry_handlers=[])

From outside (all under /_fake/):
    POST faults    {"method": "chat.postMessage" | "*", "kind": "ratelimited", "times": 2, "retry_after": 3}
    DELETE faults  forget the faults that have not struck
    GET calls      the journal; ?method= filters, ?after=N gives those numbered above N
    GET messages   ?channel=; &thread=TS for its replies
    POST reset     forget messages, calls and faults
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from aiohttp import web

from tocsin.testing.slack.faults import Fault, FaultPlan, Kind
from tocsin.testing.slack.methods import ALL_SCOPES, Answer, Methods
from tocsin.testing.slack.page import ChannelPage
from tocsin.testing.slack.workspace import Channel, Message, SlackRefusal, Workspace

MOST_CALLS: Final = 50_000
"""The journal keeps at least this many."""
DEFAULT_TOKEN: Final = "xoxb-stand-in"
DEFAULT_CHANNELS: Final = (Channel(id="C0ALERTS", name="alerts"),)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call as the journal has it. `status` 0: the caller got no answer."""

    number: int
    method: str
    at: float
    args: dict[str, Any]
    status: int
    error: str
    fault: str


class FakeSlack:
    """A Slack workspace on a loopback port, running while its `async with` block does."""

    def __init__(
        self,
        *,
        channels: Sequence[Channel] = DEFAULT_CHANNELS,
        token: str = DEFAULT_TOKEN,
        scopes: Sequence[str] = ALL_SCOPES,
        host: str = "127.0.0.1",
        port: int = 0,
        state: Path | None = None,
        channel_rate: float | None = None,
        burst: int = 1,
        edit_window: float | None = None,
    ) -> None:
        """`channel_rate`: posts per second and channel before 429, with `burst` on top; None does not limit.

        `edit_window`: seconds after which a message can't be edited any more.
        """
        self.token = token
        self.address = ""
        self.calls: list[Call] = []
        self.faults = FaultPlan()
        self.workspace = Workspace(
            channels=tuple(channels), state=state, on_change=self._changed, edit_window=edit_window
        )
        self.methods = Methods(self.workspace, scopes=scopes, url=lambda: self.address + "/")
        self._page = ChannelPage(self.workspace)
        self._host, self._port = host, port
        self._buckets: dict[str, tuple[float, float]] = {}
        self._rate, self._burst = channel_rate, burst
        self._change = asyncio.Condition()
        self._released = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._wakers: set[asyncio.Task[None]] = set()

    # Life

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_route("*", "/api/{method}", self._api)
        app.router.add_post("/upload/{file}", self._upload)
        app.router.add_post("/_fake/faults", self._add_fault)
        app.router.add_delete("/_fake/faults", self._clear_faults)
        app.router.add_get("/_fake/calls", self._list_calls)
        app.router.add_get("/_fake/messages", self._list_messages)
        app.router.add_post("/_fake/reset", self._reset)
        self._page.mount(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        # The port is known only now. Wildcards are not addresses one can call.
        port = self._runner.addresses[0][1]
        host = "127.0.0.1" if self._host in {"0.0.0.0", "::", ""} else self._host
        self.address = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of every hanging call and stop listening."""
        self._released.set()
        self._page.close()
        if self._runner is not None:
            await self._runner.cleanup()
        for waker in list(self._wakers):
            waker.cancel()
        self.workspace.close()

    # What a test asks

    @property
    def base_url(self) -> str:
        """What slack_sdk's `base_url` takes."""
        return f"{self.address}/api/"

    def inject(self, method: str, kind: Kind, *, times: int = 1, **figures: Any) -> None:
        """The next `times` calls of `method` (`*`: of any) go wrong so; `figures` are Fault's."""
        self.faults.add(method, Fault(kind=kind, **figures), times)

    def messages(self, channel: str = "C0ALERTS") -> tuple[Message, ...]:
        """What the channel shows, oldest first."""
        return self.workspace.messages(channel)

    def posted(self, channel: str = "C0ALERTS") -> tuple[Message, ...]:
        """Top-level messages only: no broadcast replies."""
        return tuple(message for message in self.messages(channel) if not message.is_reply)

    def thread(self, parent: Message) -> tuple[Message, ...]:
        """The replies under `parent`, oldest first."""
        return self.workspace.thread(parent.channel, parent.ts)

    def called(self, method: str) -> tuple[Call, ...]:
        """The journal's calls of one method."""
        return tuple(call for call in self.calls if call.method == method)

    async def until(self, holds: Callable[[], bool], timeout: float = 10.0) -> None:
        """Wait until `holds()`, looked at after each change and call. Raises TimeoutError."""
        async with asyncio.timeout(timeout), self._change:
            await self._change.wait_for(holds)

    def release(self) -> None:
        """Let every call that hangs now go, unanswered."""
        self._released.set()
        self._released = asyncio.Event()

    def _changed(self) -> None:
        """Wake whoever waits: the page's listeners and `until`."""
        self._page.changed()
        with contextlib.suppress(RuntimeError):  # no loop: a change made before the server started
            waker = asyncio.get_running_loop().create_task(self._wake())
            self._wakers.add(waker)
            waker.add_done_callback(self._wakers.discard)

    async def _wake(self) -> None:
        async with self._change:
            self._change.notify_all()

    # The Web API

    async def _api(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        try:
            args = await _arguments(request)
        except SlackRefusal as refusal:
            self._note(method, {}, status=200, error=refusal.error)
            return web.json_response({"ok": False, "error": refusal.error})
        fault = self.faults.take(method)
        if fault is not None and not fault.kind.processes:
            self._note(method, args, fault=fault)
            return await self._fail(request, fault)
        if fault is not None and fault.kind is Kind.SLOW:
            await asyncio.sleep(fault.seconds)
        status, answer = self._answer(request, method, args)
        if fault is not None and fault.kind is not Kind.SLOW:
            self._note(method, args, error=str(answer.get("error", "")), fault=fault)
            return await self._fail(request, fault)
        self._note(method, args, status=status, error=str(answer.get("error", "")), fault=fault)
        headers = {"x-oauth-scopes": ",".join(self.methods.scopes)}
        headers |= {"Retry-After": str(answer.pop("retry_after"))} if status == 429 else {}
        return web.json_response(answer, status=status, headers=headers)

    def _answer(self, request: web.Request, method: str, args: Answer) -> tuple[int, Answer]:
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        token = bearer or str(args.get("token") or "")
        if token != self.token:
            return 200, {"ok": False, "error": "invalid_auth" if token else "not_authed"}
        if method == "chat.postMessage" and (wait := self._too_fast(str(args.get("channel")))):
            return 429, {"ok": False, "error": "ratelimited", "retry_after": math.ceil(wait)}
        try:
            return 200, {"ok": True, **self.methods.call(method, args)}
        except SlackRefusal as refusal:
            return 200, {"ok": False, "error": refusal.error, **refusal.more}

    def _too_fast(self, channel: str) -> float:
        """Seconds until the channel's token bucket allows another post; 0 takes a token."""
        if self._rate is None:
            return 0.0
        now = time.monotonic()
        tokens, at = self._buckets.get(channel, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + (now - at) * self._rate)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._rate
        self._buckets[channel] = (tokens if wait else tokens - 1, now)
        return wait

    async def _fail(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        match fault.kind:
            case Kind.RATELIMITED:
                headers = {"Retry-After": f"{fault.retry_after:g}"}
                return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)
            case Kind.ERROR:
                return web.json_response({"ok": False, "error": fault.error})
            case Kind.HTML:
                return web.Response(text="<html><title>Sign in to the network</title></html>", content_type="text/html")
            case Kind.STATUS | Kind.PROCESS_THEN_STATUS:
                return web.Response(status=fault.status, text="<html>upstream error</html>", content_type="text/html")
            case Kind.HANG | Kind.PROCESS_THEN_HANG:
                await self._released.wait()
        _reset(request)
        return web.Response()

    def _note(self, method: str, args: Answer, *, status: int = 0, error: str = "", fault: Fault | None = None) -> None:
        shown = {name: value for name, value in args.items() if name != "token"}
        kind = fault.kind.value if fault is not None else ""
        number = self.calls[-1].number + 1 if self.calls else 1
        call = Call(number=number, method=method, at=time.time(), args=shown, status=status, error=error, fault=kind)
        self.calls.append(call)
        if len(self.calls) > 2 * MOST_CALLS:  # a demo that runs for days
            del self.calls[:MOST_CALLS]
        self._changed()

    async def _upload(self, request: web.Request) -> web.Response:
        """files.slack.com's answer is plain text, unlike the API's."""
        file = self.workspace.files.get(request.match_info["file"])
        if file is None:
            return web.Response(status=404, text="file_not_found")
        file["body"] = await request.read()
        return web.Response(text=f"OK - {len(file['body'])}")

    # From outside

    async def _add_fault(self, request: web.Request) -> web.Response:
        try:
            wanted = json.loads(await request.text())
            method, times = str(wanted.pop("method", "*")), int(wanted.pop("times", 1))
            self.faults.add(method, Fault(kind=Kind(wanted.pop("kind")), **wanted), times)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return web.json_response({"ok": False, "error": f"not a fault: {error}"}, status=400)
        return web.json_response({"ok": True, "left": self.faults.left})

    async def _clear_faults(self, _: web.Request) -> web.Response:
        self.faults.clear()
        self.release()
        return web.json_response({"ok": True})

    async def _list_calls(self, request: web.Request) -> web.Response:
        method, after = request.query.get("method"), int(request.query.get("after", "0"))
        calls = [asdict(call) for call in self.calls if call.number > after and method in (None, call.method)]
        return web.json_response({"ok": True, "calls": calls})

    async def _list_messages(self, request: web.Request) -> web.Response:
        channel, thread = request.query.get("channel", next(iter(self.workspace.channels))), request.query.get("thread")
        found = self.workspace.thread(channel, thread) if thread else self.workspace.messages(channel)
        return web.json_response({"ok": True, "messages": [asdict(message) for message in found]})

    async def _reset(self, _: web.Request) -> web.Response:
        self.workspace.clear()
        self.calls.clear()
        self.faults.clear()
        self.release()
        return web.json_response({"ok": True})


async def _arguments(request: web.Request) -> Answer:
    """From the query, a form (where lists and objects are JSON text) or a JSON body, which may be empty.

    Raises SlackRefusal for a body that is no JSON object.
    """
    args: Answer = dict(request.query)
    if request.content_type == "application/json":
        body = await request.text()
        try:
            given = json.loads(body) if body.strip() else {}
        except ValueError:
            given = None
        if not isinstance(given, dict):
            raise SlackRefusal("invalid_json")
        args |= given
    elif request.can_read_body:
        args |= {name: value for name, value in (await request.post()).items() if isinstance(value, str)}
    for name in ("blocks", "attachments", "metadata", "files"):
        if isinstance(args.get(name), str):
            with contextlib.suppress(ValueError):
                args[name] = json.loads(args[name])
    return args


def _reset(request: web.Request) -> None:
    """Break the connection with a TCP reset rather than an orderly end."""
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
