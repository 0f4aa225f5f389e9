"""Ships samples to one remote-write destination: takes them at once, sends them in its own time.

    shipper = Shipper(destination, folder, clock=clock, telemetry=telemetry)
    store.appended = shipper.take           # a poll's samples go to the queue on disk
    shipper.start()
    why = await shipper.settled(shipper.mark)   # "": everything taken so far was acknowledged
    await shipper.stop(drain=5.0)           # what is not delivered by then goes out after the next start

A request that gets no acknowledgement is sent again, unchanged, with back-off and for as long as the queue has room;
Retry-After is obeyed. A sample that the receiver will never take is found by halving, dropped and counted, and what the
receiver says is logged once per kind. A receiver that is down costs a file of bounded size, nothing else.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from tocsin.model import NO_LABELS, Seconds
from tocsin.ports import Clock
from tocsin.series.journal import Batch
from tocsin.series.remote.pace import backoff
from tocsin.series.remote.position import Split
from tocsin.series.remote.queue import Describe, Parcel, Queue
from tocsin.series.remote.receiver import Answer, Receiver, Verdict
from tocsin.series.remote.requests import Encoder, Request, body_of, halves, requests_of
from tocsin.tasks import end_tasks
from tocsin.telemetry.logs import logger
from tocsin.telemetry.metrics import Telemetry

HALVINGS: Final = 48
"""Extra requests for one that was refused: enough to find one unwelcome sample among thousands, or two."""
_KINDS: Final = 200
DEFAULT_SPLIT: Final = Split(shards=4, batch=2000)


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where to, and how."""

    name: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """Authorization and the like."""
    deadline: Seconds = 30.0
    split: Split = DEFAULT_SPLIT
    linger: Seconds = 1.0
    """How long a sample may wait for company."""
    max_bytes: int = 512 * 2**20


class Shipper:
    """The queue of one destination, and the task that empties it."""

    def __init__(
        self,
        destination: Destination,
        folder: Path,
        *,
        clock: Clock,
        telemetry: Telemetry,
        external_labels: Mapping[str, str] = NO_LABELS,
        chance: Random | None = None,
    ) -> None:
        self.destination = destination
        self.queue = Queue(folder, max_bytes=destination.max_bytes)
        self._clock = clock
        self._telemetry = telemetry
        self._chance = chance or Random()  # noqa: S311  (jitter)
        self._receiver = Receiver(destination.url, headers=destination.headers, deadline=destination.deadline)
        self._encode = Encoder(external_labels)
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        """Something was taken, somebody waits, or it is to stop."""
        self._stopping = False
        self._hurry = 0
        """How many wait for an acknowledgement."""
        self._parcel: Parcel | None = None
        self._outcome = asyncio.Condition()
        self._failures = 0
        self._resume_at: Seconds = 0.0
        self._last = ""
        self._told: set[tuple[str, str]] = set()
        self._counted: Counter[str] = Counter()
        self._was_problem = ""
        self._mark = self.queue.pending
        self._refusals: list[tuple[int, str]] = []
        self._measured()

    def _measured(self) -> None:
        metrics, name = self._telemetry, self.destination.name
        metrics.remote_pending.labels(name).set_function(lambda: float(self.queue.pending))
        metrics.remote_bytes.labels(name).set_function(lambda: float(self.queue.nbytes))
        metrics.remote_lag.labels(name).set_function(self.lag)
        metrics.remote_sent.labels(name)
        for reason in ("refused", "repeated", "over", "disk", "damaged"):
            metrics.remote_dropped.labels(name, reason)

    def lag(self) -> Seconds:
        """How long ago the oldest sample was taken that is not acknowledged."""
        if self._parcel is None:
            return 0.0
        return max(0.0, self._clock.now().timestamp() - self._parcel.oldest_at / 1000)

    # Taking ----------------------------------------------------------------------------------------------------------

    @property
    def mark(self) -> int:
        """All that was taken so far: for `settled`."""
        return self._mark

    def take(self, batches: Sequence[Batch], describe: Describe) -> None:
        """Put a poll's samples into the queue. Never waits for the receiver, never raises."""
        self._mark += self.queue.append(batches, describe)
        self._count_drops()
        self._news.set()

    def _count_drops(self) -> None:
        dropped = self.queue.dropped - self._counted
        for reason, count in dropped.items():
            self._telemetry.remote_dropped.labels(self.destination.name, reason).inc(count)
        if dropped:
            self._counted += dropped
            self._log_once("remote_write.dropped", ",".join(sorted(dropped)), "the queue could not hold them")
        if self.queue.problem and not self._was_problem:
            logger().error("remote_write.queue", destination=self.destination.name, problem=self.queue.problem)
        self._was_problem = self.queue.problem

    # Waiting ---------------------------------------------------------------------------------------------------------

    async def settled(self, mark: int, *, after: int = 0) -> str:
        """Wait until all taken up to `mark` is settled: "" when it was acknowledged, else why it never will be.

        Only what came after mark `after` counts. Waits as long as it takes: the caller bounds it, and finds in `why`
        what it is waiting for.
        """
        self._hurry += 1
        self._news.set()
        try:
            async with self._outcome:
                await self._outcome.wait_for(lambda: self.queue.pending <= self._mark - mark)
        finally:
            self._hurry -= 1
        return next((why for at, why in self._refusals if at > after), "")

    @property
    def why(self) -> str:
        """What the receiver said last, when it was not yes."""
        return self._last

    # Sending ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to send."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"remote-write {self.destination.name}")

    async def stop(self, *, drain: Seconds) -> None:
        """Send what waits, for at most `drain` seconds and only if the receiver takes it; then end."""
        self._stopping = True
        self._news.set()
        if self._task is not None:
            # A receiver that is down is not waited for.
            limit = asyncio.ensure_future(self._clock.sleep(0 if self._failures else drain))
            await asyncio.wait({self._task, limit}, return_when=asyncio.FIRST_COMPLETED)
            await end_tasks(self._task, limit)
        await self._receiver.close()
        if self.queue.pending:
            logger().warning(
                "remote_write.kept", destination=self.destination.name, samples=self.queue.pending,
                why=self._last or "there was no time", where=str(self.queue.folder),
            )  # fmt: skip
        self.queue.close()

    async def _run(self) -> None:
        split = self.destination.split
        while True:
            self._news.clear()
            if self.queue.pending:
                await self._gather()
            parcel = self.queue.read(split.shards * split.batch, split)
            self._count_drops()
            if parcel is not None:
                self._parcel = parcel
                await self._deliver(parcel)
                self.queue.delivered(parcel)
                self._parcel = None
            async with self._outcome:
                self._outcome.notify_all()
            if parcel is None:
                if self._stopping:
                    return
                await self._news.wait()

    async def _gather(self) -> None:
        """Let samples wait for company, unless somebody waits for them."""
        until = self._clock.monotonic() + self.destination.linger
        while (
            not (self._stopping or self._hurry or self.queue.pending >= self.destination.split.batch)
            and (rest := until - self._clock.monotonic()) > 0
        ):
            self._news.clear()
            await _first(self._news.wait(), self._clock.sleep(rest))

    async def _deliver(self, parcel: Parcel) -> None:
        shards = requests_of(parcel.entries, parcel.split, self._encode)
        async with asyncio.TaskGroup() as group:
            for requests in shards:
                group.create_task(self._ship(requests, parcel.again))

    async def _ship(self, requests: Sequence[Request], again: bool) -> None:
        """The requests of one shard, one after the other."""
        for request in requests:
            left = HALVINGS
            waiting = [(request, again)]
            while waiting:
                part, doubtful = waiting.pop()
                answer, doubtful = await self._until_answered(part, doubtful)
                if answer.verdict is Verdict.ACCEPTED:
                    self._telemetry.remote_sent.labels(self.destination.name).inc(len(part))
                elif answer.verdict is Verdict.UNWELCOME and len(part) > 1 and left >= 2:
                    earlier, later = halves(part)
                    left -= 2
                    waiting += [(later, doubtful), (earlier, doubtful)]
                else:
                    self._refused(part, answer, doubtful)

    async def _until_answered(self, request: Request, doubtful: bool) -> tuple[Answer, bool]:
        """Send until there is a yes or a no; whether the receiver may have had it before that."""
        body = body_of(request)
        while True:
            await self._pause()
            answer = await self._receiver.send(body, self._clock.now())
            if answer.verdict is not Verdict.LATER:
                self._well()
                return answer, doubtful
            doubtful = doubtful or answer.doubtful
            self._failed(answer)
            # It may take long now: what waits is to survive the machine's end, too.
            await asyncio.to_thread(self.queue.sync)

    async def _pause(self) -> None:
        while (rest := self._resume_at - self._clock.monotonic()) > 0:
            await self._clock.sleep(rest)

    def _failed(self, answer: Answer) -> None:
        self._telemetry.remote_failed.labels(self.destination.name, answer.kind).inc()
        if self._clock.monotonic() >= self._resume_at:  # shards that fail together have failed once
            self._failures += 1
        wait = backoff(self._failures, self._chance)
        if answer.wait is not None:
            wait = max(wait, answer.wait)
        self._resume_at = max(self._resume_at, self._clock.monotonic() + wait)
        self._last = f"{answer.kind}: {answer.text}" if answer.text else answer.kind
        if self._failures == 1:
            logger().warning(
                "remote_write.failed", destination=self.destination.name, kind=answer.kind, said=answer.text,
                next="it is tried again; samples wait on disk",
            )  # fmt: skip

    def _well(self) -> None:
        if self._failures:
            logger().info("remote_write.answers", destination=self.destination.name, failures=self._failures)
        self._failures = 0
        self._last = ""

    def _refused(self, request: Request, answer: Answer, doubtful: bool) -> None:
        reason = "repeated" if doubtful and answer.verdict is Verdict.UNWELCOME else "refused"
        self._telemetry.remote_dropped.labels(self.destination.name, reason).inc(len(request))
        if answer.verdict is Verdict.REFUSED:
            # Whoever evaluates there must know that the receiver takes nothing at all.
            self._refusals = [(self._mark, f"{self.destination.name} refuses samples: {answer.kind} {answer.text}")]
        self._log_once("remote_write.refused", answer.kind, answer.text, reason=reason, samples=len(request))

    def _log_once(self, event: str, kind: str, said: str, **fields: object) -> None:
        # Receivers put series and times into their texts: what comes before these is the kind.
        key = (kind, "".join(sign for sign in said[:60].partition("{")[0] if not sign.isdigit()))
        if key in self._told or len(self._told) >= _KINDS:
            return
        self._told.add(key)
        logger().error(event, destination=self.destination.name, kind=kind, said=said, **fields)


async def _first(*waits: Awaitable[Any]) -> None:
    """Wait for one of them and give up the others."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end_tasks(*tasks)
