"""What people ask of the daemon from outside it: acknowledge, resolve, silence.

The command line has the state store and not the daemon's memory, so a request is a row: the daemon looks once a second,
does what is asked as if it had been clicked, and leaves its answer in the row. A request is durable when `ask` returns;
one that is asked while no daemon runs is done when one starts. Doing a request twice (a daemon killed between the deed
and the answer) changes nothing: each of them is idempotent.

    ask → id                     the command line
    serve(act, now)              the daemon, with the pipeline's `act`
    answer(id) → Answer | None   the command line, until there is one
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

import sqlalchemy as sa

from tocsin.incidents import Book, Outcome, ack, resolve, silence
from tocsin.incidents.silences import check
from tocsin.model import IncidentState, Matcher, MatchOp, Silence
from tocsin.state import codec
from tocsin.state.schema import meta

if TYPE_CHECKING:
    from tocsin.state.store import State

KEPT: Final = timedelta(hours=1)
"""An answer that nobody fetched is forgotten after this long."""
_PREFIX: Final = "inbox:"
_END: Final = "inbox;"
"""The first name after every one that begins with the prefix."""

Act = Callable[[Callable[[Book, datetime], Outcome]], Awaitable[Outcome]]
"""The pipeline's way to change its book durably. Raises KeyError for an incident that is not there."""


Receive = Callable[[Sequence[Mapping[str, Any]]], Awaitable[None]]
"""Takes alerts that were handed on, as their sender's replica wrote them."""
Push = Callable[[str, bytes], Awaitable[None]]
"""Takes events that were handed on, for the collector of that name. What it can't use it logs."""


class Refusal(ValueError):
    """What is asked can't be done; the message says why."""


class Request(Protocol):
    """Something to do with the book."""

    def apply(self, book: Book, now: datetime) -> Outcome:
        """Do it. Raises Refusal."""

    def said(self, before: Book) -> str:
        """What was done, for people; `before` is the book as it was."""

    def json(self) -> dict[str, Any]:
        """As it is stored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ack:
    """`by` takes the incident."""

    incident: str
    by: str

    def apply(self, book: Book, now: datetime) -> Outcome:
        """See incidents.ack. Raises Refusal."""
        _known(book, self.incident)
        return ack(book, self.incident, self.by, now)

    def said(self, before: Book) -> str:
        incident = before.files[self.incident].incident
        if incident.state is IncidentState.ACKED:
            return f"{self.incident} was acknowledged by {incident.acked_by} already"
        if incident.state is IncidentState.RESOLVED:
            return f"{self.incident} has ended already"
        return f"{self.incident} acknowledged by {self.by}"

    def json(self) -> dict[str, Any]:
        return {"do": "ack", "incident": self.incident, "by": self.by}


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolve:
    """`by` closes the incident, whatever its alerts do."""

    incident: str
    by: str
    why: str

    def apply(self, book: Book, now: datetime) -> Outcome:
        """See incidents.resolve. Raises Refusal."""
        _known(book, self.incident)
        return resolve(book, self.incident, self.by, self.why, now)

    def said(self, before: Book) -> str:
        if before.files[self.incident].incident.state is IncidentState.RESOLVED:
            return f"{self.incident} has ended already"
        return f"{self.incident} closed by {self.by}"

    def json(self) -> dict[str, Any]:
        return {"do": "resolve", "incident": self.incident, "by": self.by, "why": self.why}


@dataclass(frozen=True, kw_only=True, slots=True)
class Hush:
    """A silence is made, or changed."""

    silence: Silence

    def apply(self, book: Book, now: datetime) -> Outcome:
        """See incidents.silence. Raises Refusal."""
        try:
            check(self.silence)
        except ValueError as error:
            raise Refusal(str(error)) from None
        return silence(book, self.silence, now)

    def said(self, before: Book) -> str:
        return f"{self.silence.id} silences until {self.silence.ends_at:%Y-%m-%d %H:%M:%SZ}"

    def json(self) -> dict[str, Any]:
        silence = self.silence
        return {
            "do": "silence", "id": silence.id, "matchers": codec.matchers_json(silence),
            "starts_at": silence.starts_at.isoformat(), "ends_at": silence.ends_at.isoformat(),
            "created_by": silence.created_by, "why": silence.why,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Expire:
    """A silence ends now; one that has not begun never does."""

    id: str

    def apply(self, book: Book, now: datetime) -> Outcome:
        """Raises Refusal."""
        found = book.silences.get(self.id)
        if found is None:
            raise Refusal(f"there is no silence {self.id}; see: tocsin silence list")
        if found.ends_at <= now:
            return silence(book, found, now)
        return silence(book, replace(found, starts_at=min(found.starts_at, now), ends_at=now), now)

    def said(self, before: Book) -> str:
        return f"{self.id} ended"

    def json(self) -> dict[str, Any]:
        return {"do": "expire", "id": self.id}


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came of a request."""

    done: bool
    text: str


@dataclass(slots=True)
class _Seen:
    """The book as it was when the request was applied."""

    book: Book | None = field(default=None)


class Inbox:
    """The requests in one state store. All methods raise StateError."""

    def __init__(self, state: State) -> None:
        self._state = state

    async def ask(self, request: Request, now: datetime) -> str:
        """Store a request → its id, for `answer`."""
        return await self._put(request.json(), now)

    async def _put(self, document: Mapping[str, Any], now: datetime) -> str:
        id = f"{_PREFIX}{round(now.timestamp() * 1000):015d}:{secrets.token_hex(4)}"
        row = {"name": id, "value": codec.dump({"request": document, "answer": None})}
        async with self._state.writing() as connection:
            await connection.execute(sa.insert(meta).values(row))
        return id

    async def answer(self, id: str) -> Answer | None:
        """What came of it, once; None while nothing has."""
        async with self._state.reading() as connection:
            found = (await connection.execute(sa.select(meta.c.value).where(meta.c.name == id))).scalar()
        answer = codec.parse(found)["answer"] if found is not None else None
        if answer is None:
            return None
        async with self._state.writing() as connection:
            await connection.execute(sa.delete(meta).where(meta.c.name == id))
        return Answer(done=answer["done"], text=answer["text"])

    async def hand_on(self, alerts: Sequence[Mapping[str, Any]], now: datetime) -> None:
        """Alerts that were sent to a replica that does not lead: kept for the one that does, who answers nothing."""
        await self._put({"do": "alerts", "alerts": list(alerts)}, now)

    async def hand_on_events(self, collector: str, body: bytes, now: datetime) -> None:
        """Events that were pushed to a replica that does not lead: kept for the one that does."""
        packed = base64.b64encode(await asyncio.to_thread(zlib.compress, body)).decode()
        await self._put({"do": "events", "collector": collector, "packed": packed}, now)

    async def serve(self, act: Act, now: datetime, *, receive: Receive | None = None, push: Push | None = None) -> int:
        """Do what is asked, in the order it was → how many requests were answered."""
        served = 0
        for id, row in await self._rows():
            if await _handed_on(row["request"], receive, push):
                async with self._state.writing() as connection:
                    await connection.execute(sa.delete(meta).where(meta.c.name == id))
                continue
            if row["answer"] is None:
                answer = await self._served(row["request"], act)
                row = {**row, "answer": {"done": answer.done, "text": answer.text, "at": now.isoformat()}}
                async with self._state.writing() as connection:
                    await connection.execute(sa.update(meta).where(meta.c.name == id).values(value=codec.dump(row)))
                served += 1
            elif now - datetime.fromisoformat(row["answer"]["at"]) > KEPT:
                async with self._state.writing() as connection:
                    await connection.execute(sa.delete(meta).where(meta.c.name == id))
        return served

    async def _rows(self) -> list[tuple[str, dict[str, Any]]]:
        wanted = sa.select(meta).where(meta.c.name >= _PREFIX, meta.c.name < _END).order_by(meta.c.name)
        async with self._state.reading() as connection:
            return [(row.name, codec.parse(row.value)) for row in await connection.execute(wanted)]

    async def _served(self, document: Mapping[str, Any], act: Act) -> Answer:
        seen = _Seen()
        try:
            request = request_of(document)

            def action(book: Book, now: datetime) -> Outcome:
                seen.book = book
                return request.apply(book, now)

            await act(action)
        except Refusal as error:
            return Answer(done=False, text=str(error))
        assert seen.book is not None
        return Answer(done=True, text=request.said(seen.book))


async def _handed_on(document: Mapping[str, Any], receive: Receive | None, push: Push | None) -> bool:
    """True when it was something that another replica was sent, and is taken now."""
    if document.get("do") == "alerts" and receive is not None:
        await receive(document["alerts"])
        return True
    if document.get("do") == "events" and push is not None:
        body = await asyncio.to_thread(zlib.decompress, base64.b64decode(document["packed"]))
        await push(document["collector"], body)
        return True
    return False


def request_of(document: Mapping[str, Any]) -> Request:
    """The request that was stored. Raises Refusal for one of a newer or older Tocsin."""
    match document:
        case {"do": "ack", "incident": str(incident), "by": str(by)}:
            return Ack(incident=incident, by=by)
        case {"do": "resolve", "incident": str(incident), "by": str(by), "why": str(why)}:
            return Resolve(incident=incident, by=by, why=why)
        case {"do": "silence"}:
            try:
                return Hush(silence=_silence_of(document))
            except (KeyError, TypeError, ValueError):
                raise Refusal("that silence can't be read: use the same version of Tocsin for both") from None
        case {"do": "expire", "id": str(id)}:
            return Expire(id=id)
    raise Refusal("this daemon does not know that request: use the same version of Tocsin for both")


def _silence_of(document: Mapping[str, Any]) -> Silence:
    return Silence(
        id=document["id"],
        matchers=tuple(
            Matcher(name=one["name"], op=MatchOp(one["op"]), value=one["value"]) for one in document["matchers"]
        ),
        starts_at=datetime.fromisoformat(document["starts_at"]),
        ends_at=datetime.fromisoformat(document["ends_at"]),
        created_by=document["created_by"],
        why=document["why"],
    )


def _known(book: Book, incident: str) -> None:
    if incident not in book.files:
        raise Refusal(f"there is no open incident {incident}; see: tocsin incidents list")
