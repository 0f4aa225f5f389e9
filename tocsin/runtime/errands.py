"""What a person asks of the daemon, done here where this replica leads, else by the one that does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

from tocsin.errors import Deposed, StateError
from tocsin.incidents import Book, Outcome
from tocsin.model import Seconds
from tocsin.ports import Clock, Inlet
from tocsin.runtime.external import Posted, posted_json
from tocsin.runtime.pipeline import Pipeline
from tocsin.state.inbox import Inbox, Refusal, Request

PATIENCE: Final[Seconds] = 10.0
LOOK_EVERY: Final[Seconds] = 0.1


class Errands:
    """Through the pipeline, or through the inbox that the leader looks into every second."""

    def __init__(self, pipeline: Pipeline, inbox: Inbox, clock: Clock) -> None:
        self._pipeline = pipeline
        self._inbox = inbox
        self._clock = clock

    async def do(self, wanted: Request) -> str:
        """Have it done, durably → what was done, in words. Raises Refusal, and StateError where nobody does it yet."""
        seen: list[Book] = []

        def action(book: Book, now: datetime) -> Outcome:
            seen.append(book)
            return wanted.apply(book, now)

        if self._pipeline.leads:
            with suppress(Deposed):
                await self._pipeline.act(action)
                return wanted.said(seen[-1])
        id = await self._inbox.ask(wanted, self._clock.now())
        ends = self._clock.monotonic() + PATIENCE
        while self._clock.monotonic() < ends:
            answer = await self._inbox.answer(id)
            if answer is not None:
                if answer.done:
                    return answer.text
                raise Refusal(answer.text)
            await self._clock.sleep(LOOK_EVERY)
        raise StateError("no replica leads: what was asked is kept, and done when one does")

    async def receive(self, posted: Sequence[Posted]) -> None:
        """Alerts that were sent to us; kept for the leader where another one leads. Raises TooMany, StateError."""
        if self._pipeline.leads:
            await self._pipeline.receive(posted)
        else:
            await self._inbox.hand_on([posted_json(each) for each in posted], self._clock.now())

    async def push(self, inlet: Inlet, body: bytes) -> Mapping[str, int | str]:
        """Events for a collector; kept for the leader where another one leads, whose rules read them. As Inlet.take."""
        if self._pipeline.leads:
            return await inlet.take(body)
        await self._inbox.hand_on_events(inlet.name, body, self._clock.now())
        return {}
