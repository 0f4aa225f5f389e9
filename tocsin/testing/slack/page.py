"""The stand-in's channel as a page one can watch: messages appear, change in place and grow threads, live.

`/` shows the first channel, `/c/ID` any, `/archives/ID/pTS` (a permalink) leads to the message. The page listens to
`/events` and asks for the list anew when something changed; nothing is loaded from elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from tocsin.testing.slack.mrkdwn import EMOJI, plain_html, to_html
from tocsin.testing.slack.workspace import Channel, Message, Workspace

SHOWN: Final = 100
"""Messages on the page; a demo that runs for days would make it too heavy."""
_FOLDER: Final = Path(__file__).parent / "page"
_ASSETS: Final = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class ChannelPage:
    """Routes and rendering; `changed()` tells every open page."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._version = 0
        self._listeners: set[asyncio.Event] = set()
        self._closed = False
        self._templates = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined)
        self._templates.trim_blocks = self._templates.lstrip_blocks = True
        self._templates.filters |= {"text_html": text_html, "clock": clock, "day": day, "emoji": emoji}

    def mount(self, app: web.Application) -> None:
        app.router.add_get("/", self._first)
        app.router.add_get("/c/{channel}", self._show)
        app.router.add_get("/c/{channel}/messages", self._list)
        app.router.add_get("/archives/{channel}/p{ts}", self._permalink)
        app.router.add_get("/events", self._events)
        app.router.add_get("/static/{name}", self._asset)

    def changed(self) -> None:
        self._version += 1
        for listener in self._listeners:
            listener.set()

    def close(self) -> None:
        """End the open event streams, so that the server can stop."""
        self._closed = True
        self.changed()

    async def _first(self, _: web.Request) -> web.Response:
        return self._answer("channel.html.j2", next(iter(self._workspace.channels.values())))

    async def _show(self, request: web.Request) -> web.Response:
        return self._answer("channel.html.j2", self._channel(request))

    async def _list(self, request: web.Request) -> web.Response:
        return self._answer("messages.html.j2", self._channel(request))

    async def _permalink(self, request: web.Request) -> web.Response:
        digits = request.match_info["ts"]
        channel = self._channel(request)
        raise web.HTTPFound(f"/c/{channel.id}#p{digits if digits.isdigit() else ''}")

    async def _asset(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in _ASSETS:
            raise web.HTTPNotFound
        text = (_FOLDER / name).read_text(encoding="utf-8")
        return web.Response(text=text, content_type=_ASSETS[name], headers=_HEADERS)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: a number that rises with each change; a comment every 15 s shows that it is alive."""
        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        listener = asyncio.Event()
        self._listeners.add(listener)
        try:
            while not self._closed:
                listener.clear()
                await response.write(f"data: {self._version}\n\n".encode())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(15):
                        await listener.wait()
        except ConnectionError:
            pass
        finally:
            self._listeners.discard(listener)
        return response

    def _channel(self, request: web.Request) -> Channel:
        channel = self._workspace.channels.get(request.match_info["channel"])
        if channel is None:
            raise web.HTTPNotFound(text="There is no such channel here.")
        return channel

    def _answer(self, template: str, channel: Channel) -> web.Response:
        page: Template = self._templates.get_template(template)
        messages = self._workspace.messages(channel.id)
        html = page.render(
            channel=channel,
            channels=tuple(self._workspace.channels.values()),
            messages=messages[-SHOWN:],
            earlier=max(len(messages) - SHOWN, 0),
            replies=lambda message: self._workspace.thread(message.channel, message.ts),
            parent=lambda message: self._workspace.get(message.channel, message.thread_ts),
        )
        return web.Response(text=html, content_type="text/html", headers=_HEADERS)


def text_html(text: Any) -> Markup:
    """The HTML of a text object, or of a message's plain `text`."""
    if isinstance(text, dict):
        words = str(text.get("text", ""))
        return plain_html(words) if text.get("type") == "plain_text" else to_html(words)
    return to_html(str(text or ""))


def clock(message: Message) -> str:
    """The time of day a message was posted (UTC)."""
    return datetime.fromtimestamp(message.posted_at, UTC).strftime("%H:%M:%S")


def day(message: Message) -> str:
    """The day a message was posted (UTC)."""
    return datetime.fromtimestamp(message.posted_at, UTC).strftime("%A, %-d %B %Y")


def emoji(name: str) -> str:
    """The sign of a shortcode, or the shortcode."""
    return EMOJI.get(name.strip(":"), f":{name.strip(':')}:")
