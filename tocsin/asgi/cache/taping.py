"""An answer as it is made: taped while it passes, and waited for by those who ask the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import orjson

from tocsin.asgi.cache.rules import Keeping, Rule, keeping_of
from tocsin.asgi.cache.store import Codec, Entry
from tocsin.asgi.call import Message, Send
from tocsin.model import Seconds

_OVERHEAD: Final = 500
"""Bytes of an entry beside its body, about."""


@dataclass(slots=True)
class Answer:
    """A response, and the template of the route that gave it."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    route: str = ""
    cookies: str = ""
    """Of who may have it, where it is by cookie."""
    age: int = 0
    """Seconds it had when it was made."""

    def size(self) -> int:
        """Bytes, about."""
        return _OVERHEAD + len(self.body) + sum(len(name) + len(value) + 100 for name, value in self.headers)


class Flight:
    """An answer that is being made, and those who wait for it."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.began = loop.time()
        self._landed: asyncio.Future[Entry | None] = loop.create_future()

    def land(self, entry: Entry | None) -> None:
        """What can be given to others; None: nothing. The first word counts."""
        if not self._landed.done():
            self._landed.set_result(entry)

    def lost(self) -> None:
        """Whoever made it went away: the next one is to."""
        if not self._landed.done():
            self._landed.cancel()

    async def wait(self, patience: Seconds) -> Entry | None:
        """What it brings; None where that is nothing, or takes longer. Raises Lost."""
        left = self.began + patience - asyncio.get_running_loop().time()
        await asyncio.wait([self._landed], timeout=max(0.0, left))
        if self._landed.cancelled():
            raise Lost
        return self._landed.result() if self._landed.done() else None


class Lost(Exception):
    """Nobody is at it any more."""


@dataclass(slots=True)
class Taping:
    """`send`, with a copy of what passes for as long as it may be kept."""

    send: Send
    rule: Rule
    owned: bool
    most: int
    whole: Callable[[Answer, Keeping], None]
    """Told once all is there, before the last of it is sent: who reads slowly holds up nobody else."""
    nothing: Callable[[], None]
    """Told as soon as it is clear that nothing will be kept."""
    status: int = 0
    answer: Answer | None = None
    _keeping: Keeping = field(default_factory=Keeping)
    _parts: list[bytes] = field(default_factory=list)
    _size: int = 0

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self.status, headers = message["status"], message.get("headers", ())
            self._keeping = keeping_of(self.rule, self.status, headers, owned=self.owned, wall=time.time)
            if self._keeping.lasts > 0 and not message.get("trailers"):
                kept = [(bytes(name), bytes(value)) for name, value in headers if bytes(name).lower() != b"age"]
                self.answer = Answer(self.status, kept, age=self._keeping.age)
            else:
                self.nothing()
        elif self.answer is not None:
            self._size += len(message.get("body", b""))
            if kind != "http.response.body" or self._size > self.most:
                self.answer = None  # a file that the server sends, or more than is kept of one answer
                self._parts.clear()
                self.nothing()
            else:
                self._parts.append(bytes(message.get("body", b"")))
                if not message.get("more_body", False):
                    self.answer.body = b"".join(self._parts)
                    self.whole(self.answer, self._keeping)
                    self.answer = None
        await self.send(message)


def _packed(answer: Answer) -> bytes:
    headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in answer.headers]
    return orjson.dumps([answer.status, headers, answer.route, answer.cookies, answer.age]) + b"\n" + answer.body


def _unpacked(data: bytes) -> Answer:
    head, _, body = data.partition(b"\n")
    status, headers, route, cookies, age = orjson.loads(head)
    if not (isinstance(status, int) and isinstance(route, str) and isinstance(cookies, str) and isinstance(age, int)):
        raise ValueError("no answer")
    named = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return Answer(status, named, body, route, cookies, age)


ANSWER: Final = Codec(pack=_packed, unpack=_unpacked)
