"""The series' far ends as configured: remote-write destinations, and the server that evaluates the rules.

With `series.engine` a poll does not wait for its evaluation: the pipeline asks for one (`ask`), and a task of its own
does it. What came before is waited for (the samples are acknowledged and can be queried), then the expressions of all
groups that are due are asked at once, and the rules are run over the answers: see tocsin/series/remote/inquiry.py.

Groups that read nothing but Tocsin's own metrics are evaluated here all the same: one of them tells that the server is
away.

Whatever goes wrong on that way (samples not acknowledged in time, no answer, half an answer) makes the results unknown,
and the alerts that need them keep their last state, with the reason.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from tocsin.config import Config
from tocsin.config.schema import EngineSettings, RemoteWriteSettings
from tocsin.errors import EvaluationError
from tocsin.model import NO_LABELS, Labels, Sample, Seconds
from tocsin.ports import Clock, secret_text
from tocsin.promql import Result
from tocsin.rules import Group
from tocsin.runtime.evaluation import RuleBook
from tocsin.series import Store
from tocsin.series.journal import Batch
from tocsin.series.remote import Destination, Shipper, Split
from tocsin.series.remote.engine import Engine, Unreachable
from tocsin.series.remote.freshness import Newest
from tocsin.series.remote.inquiry import Attempt, Inquiry, Question, questions
from tocsin.series.remote.queue import Describe
from tocsin.tasks import end_tasks
from tocsin.telemetry.logs import logger
from tocsin.telemetry.metrics import Telemetry

ATTEMPTS: Final = 20
"""Rules that read what rules record that read what rules record: nobody goes deeper, and a defect would go for ever."""
_LOOK: Final[Seconds] = 0.05
_LOOK_AT_MOST: Final[Seconds] = 0.5


class Middle(Protocol):
    """What the pipeline lends."""

    @property
    def rules(self) -> RuleBook: ...

    def is_own(self, group: Group) -> bool: ...

    def store_recorded(self, samples: Sequence[Sample]) -> None: ...

    async def try_rules(
        self, book: RuleBook, due: Sequence[Group], attempt: Attempt, now: datetime, sampled_at: datetime | None
    ) -> bool: ...


class Remote:
    """All of it; does nothing where nothing is configured."""

    def __init__(
        self, shippers: Iterable[Shipper], engine: Engine | None, *, clock: Clock, telemetry: Telemetry,
        store: Store, settle: Seconds = 0.0, external_labels: Labels = NO_LABELS,
    ) -> None:  # fmt: skip
        """From here on `store` tells what it takes."""
        self.shippers = tuple(shippers)
        self.engine = engine
        self._clock = clock
        self._telemetry = telemetry
        self._settle = settle
        self._newest = Newest(external_labels)
        self._gate = _beside(self.shippers, engine)
        self._acknowledged = 0
        self._names: set[str] = set()
        self._sampled_at: datetime | None = None
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._ends = False
        self._unsettled = False
        if self.shippers:
            store.appended = self._take

    @classmethod
    def of(cls, config: Config, store: Store, clock: Clock, telemetry: Telemetry) -> Remote:
        """As configured."""
        external = Labels(config.external_labels)
        folder = config.series_path / "remote-write"
        shippers = [
            Shipper(
                _destination(each), folder / _folder_name(each.title), clock=clock, telemetry=telemetry,
                external_labels=external,
            )
            for each in config.series.remote_write
        ]  # fmt: skip
        _tell_of_leftovers(folder, {shipper.queue.folder for shipper in shippers})
        settings = config.series.engine
        engine = None
        if settings is not None:
            engine = Engine(settings.prometheus, headers=_headers(settings), deadline=settings.deadline)
            if not shippers:
                logger().warning(
                    "engine.not_fed", engine=settings.prometheus,
                    what="rules are evaluated there, and what is collected here does not go there; add "
                    "series.remote_write, unless something else writes these series",
                )  # fmt: skip
        return cls(
            shippers, engine, clock=clock, telemetry=telemetry, store=store, external_labels=external,
            settle=settings.settle if settings is not None else 0.0,
        )  # fmt: skip

    def _take(self, batches: Sequence[Batch], describe: Describe) -> None:
        for shipper in self.shippers:
            shipper.take(batches, describe)
        if self.engine is not None:
            self._newest.note(batches, describe)

    # Life ------------------------------------------------------------------------------------------------------------

    def start(self, middle: Middle) -> None:
        """Begin to send and to evaluate."""
        for shipper in self.shippers:
            shipper.start()
        if self.engine is not None:
            self._task = asyncio.get_running_loop().create_task(self._run(middle, self.engine), name="remote rules")

    async def stop(self, *, drain: Seconds) -> None:
        """Evaluate what was asked for and send what waits, for at most `drain` seconds each."""
        self._ends = True
        self._wanted.set()
        if self._task is not None:
            limit = asyncio.ensure_future(self._clock.sleep(drain))
            await asyncio.wait({self._task, limit}, return_when=asyncio.FIRST_COMPLETED)
            await end_tasks(self._task, limit)
        await asyncio.gather(*(shipper.stop(drain=drain) for shipper in self.shippers))
        if self.engine is not None:
            await self.engine.close()

    # Evaluation ------------------------------------------------------------------------------------------------------

    def ask(self, names: set[str], sampled_at: datetime | None) -> None:
        """Evaluate soon what reads `names`, and what is late."""
        self._names |= names
        if self._sampled_at is None or (sampled_at is not None and sampled_at < self._sampled_at):
            self._sampled_at = sampled_at
        self._wanted.set()

    async def _run(self, middle: Middle, engine: Engine) -> None:
        while not (self._ends and not self._wanted.is_set()):
            await self._wanted.wait()
            self._wanted.clear()
            names, self._names = self._names, set()
            sampled_at, self._sampled_at = self._sampled_at, None
            try:
                await self._evaluate(middle, engine, names, sampled_at)
            except Exception as error:  # noqa: BLE001  (a defect must not end the watch; the next poll asks again)
                logger().error("rules.not_evaluated", error=str(error), exc_info=error)
            if self._ends:
                return

    async def _evaluate(self, middle: Middle, engine: Engine, names: set[str], sampled_at: datetime | None) -> None:
        rules, now = middle.rules, self._clock.now()
        due = [group for group in rules.due(names, now) if not middle.is_own(group)]
        if not due:
            return
        inquiry = Inquiry(middle.store_recorded)
        wanted: Iterable[Question] = questions(due, now)
        for _ in range(ATTEMPTS):
            inquiry.answers.update(await self._ask_all(engine, wanted))
            attempt = inquiry.attempt()
            if await middle.try_rules(rules, due, attempt, now, sampled_at):
                return
            wanted = attempt.missing
        logger().error("rules.too_deep", open=[question.text for question in wanted][:5])

    async def _ask_all(self, engine: Engine, wanted: Iterable[Question]) -> dict[Question, Result | EvaluationError]:
        asked = list(wanted)
        why = await self._arrived(engine)
        if why:
            self._telemetry.engine_ok.labels(engine.url).set(0)
            return {question: EvaluationError(why) for question in asked}
        answers = await asyncio.gather(*(self._ask(engine, question) for question in asked))
        if answers:
            well = not any(isinstance(answer, Unreachable) for answer in answers)
            self._telemetry.engine_ok.labels(engine.url).set(float(well))
        return dict(zip(asked, answers, strict=True))

    async def _ask(self, engine: Engine, question: Question) -> Result | EvaluationError:
        began = self._clock.monotonic()
        try:
            return await engine.query(question.text, question.at)
        except EvaluationError as error:
            return error
        finally:
            self._telemetry.engine_seconds.observe(self._clock.monotonic() - began)

    async def _arrived(self, engine: Engine) -> str:
        """Wait until the server has, and shows, all that was collected; why it has not."""
        shipper = self._gate
        if shipper is None:
            return ""
        mark, name = shipper.mark, shipper.destination.name
        try:
            async with asyncio.timeout(engine.deadline):
                why = await shipper.settled(mark, after=self._acknowledged)
        except TimeoutError:
            said = shipper.why or "it is behind"
            return f"{name} has not acknowledged this poll's samples within {engine.deadline:g}s ({said})"
        self._acknowledged = mark
        if not why:
            await self._shown(engine)
        return why

    async def _shown(self, engine: Engine) -> None:
        """VictoriaMetrics shows what it has acknowledged about a second later. Wait for that, but not for ever: samples
        that can't be seen yet are late, not unknown."""
        mark, until, pause = self._newest.mark, self._clock.monotonic() + self._settle, _LOOK
        if mark is None or not self._settle:
            return
        while True:
            try:
                if mark.shown(await engine.query(mark.question, self._clock.now())):
                    self._unsettled = False
                    return
            except EvaluationError:
                return  # the rules' own questions will say what is wrong
            left = until - self._clock.monotonic()
            if left <= 0:
                break
            await self._clock.sleep(min(pause, left))
            pause = min(_LOOK_AT_MOST, pause * 1.5)
        if not self._unsettled:
            self._unsettled = True
            logger().warning(
                "engine.not_fresh", engine=engine.url, asked=mark.question,
                what=f"samples that were acknowledged can't be queried {self._settle:g}s later: alerts are late",
            )  # fmt: skip


def _beside(shippers: Sequence[Shipper], engine: Engine | None) -> Shipper | None:
    """The destination that feeds the engine: the one on its host, or else the first."""
    if engine is None or not shippers:
        return None
    host = urlsplit(engine.url).netloc
    return next((each for each in shippers if urlsplit(each.destination.url).netloc == host), shippers[0])


def _destination(settings: RemoteWriteSettings) -> Destination:
    return Destination(
        name=settings.title, url=settings.url, headers=_headers(settings), deadline=settings.deadline,
        split=Split(shards=settings.shards, batch=settings.batch), linger=settings.linger,
        max_bytes=settings.max_bytes,
    )  # fmt: skip


def _headers(settings: EngineSettings | RemoteWriteSettings) -> dict[str, str]:
    headers = {name: secret_text(value) for name, value in settings.headers.items()}
    if settings.bearer_token is not None:
        headers["Authorization"] = f"Bearer {secret_text(settings.bearer_token)}"
    return headers


def _folder_name(title: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_.-]", "_", title).lstrip(".") or "_"


def _tell_of_leftovers(folder: Path, used: set[Path]) -> None:
    try:
        left = [each for each in folder.iterdir() if each.is_dir() and each not in used]
    except OSError:
        return
    for each in left:
        logger().warning(
            "remote_write.left", folder=str(each),
            what="samples for a destination that is not configured any more; name it again to send them, or delete it",
        )  # fmt: skip
