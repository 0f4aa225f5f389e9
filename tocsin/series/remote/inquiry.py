"""Pure evaluation over answers that must be fetched: try, see what is missing, fetch it, try again.

    inquiry = Inquiry(now, store=store.append)
    while True:
        attempt = inquiry.attempt()
        result = evaluate(…, attempt.at, record=attempt.record)     # synchronous, and thrown away while …
        if not attempt.missing:
            break
        inquiry.answers |= await ask(attempt.missing)                # … questions are open

`evaluate_group` is a function of what it is given, so the same attempt with more answers comes to the same results as
far as the first one came, and further. Most evaluations need one attempt: what their rules ask is known beforehand. A
template's `query`, and a rule that reads what another one records, need one more.

What rules record is stored once, and only when nothing that it rests on is missing. A question that reads what was
recorded is another question than before: it must be asked anew, when the server has the new samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tocsin.errors import EvaluationError, TocsinError
from tocsin.model import Sample
from tocsin.promql import Plan, Result
from tocsin.rules import ALERTS, ALERTS_FOR_STATE, Group, RecordingRule


@dataclass(frozen=True, slots=True)
class Question:
    """An expression at an instant, after so many records that it reads were stored."""

    text: str
    at: datetime
    records: int = 0


class Inquiry:
    """One evaluation of some groups: the answers had, and what was stored."""

    def __init__(self, store: Callable[[Sequence[Sample]], object]) -> None:
        """`store` keeps what rules record, and may raise TocsinError."""
        self.answers: dict[Question, Result | EvaluationError] = {}
        self._store = store
        self._stored: list[TocsinError | None] = []
        """What came of each record, in order."""

    def attempt(self) -> Attempt:
        """One run over the answers there are."""
        return Attempt(self.answers, self._store, self._stored)


@dataclass
class Attempt:
    """Gives rounds, and takes what is recorded. `missing` is empty when the run was whole."""

    answers: Mapping[Question, Result | EvaluationError]
    _store: Callable[[Sequence[Sample]], object]
    _stored: list[TocsinError | None]
    missing: dict[Question, None] = field(default_factory=dict)
    _records: list[frozenset[str]] = field(default_factory=list)
    """The names of each record of this run."""

    def at(self, at: datetime) -> Asked:
        """The answers as of an instant: a `Round` for the rules."""
        return Asked(self, at)

    def record(self, samples: Sequence[Sample]) -> None:
        """Store what a rule recorded, once over all attempts. Raises as the store did."""
        number = len(self._records)
        self._records.append(frozenset(sample.name for sample in samples))
        if number == len(self._stored):
            if self.missing:
                return  # it may rest on what is not known yet
            self._stored.append(self._failure(samples))
        failed = self._stored[number] if number < len(self._stored) else None
        if failed is not None:
            raise failed

    def _failure(self, samples: Sequence[Sample]) -> TocsinError | None:
        try:
            self._store(samples)
        except TocsinError as error:
            return error
        return None

    def look_up(self, plan: Plan, at: datetime) -> Result:
        """The answer. Raises EvaluationError: the server's, or because it was not asked yet."""
        last = next(
            (
                number
                for number, names in reversed(list(enumerate(self._records, 1)))
                if plan.reads is None or not names.isdisjoint(plan.reads)
            ),
            0,
        )
        question = Question(plan.text, at, last)
        answer = self.answers.get(question)
        if answer is None:
            # What it reads may not be stored yet, because something else is missing: then it is too early to ask.
            if last <= len(self._stored):
                self.missing[question] = None
            raise EvaluationError("it was not asked yet")
        if isinstance(answer, EvaluationError):
            raise answer
        return answer


@dataclass(frozen=True, slots=True)
class Asked:
    """A Round over the answers."""

    attempt: Attempt
    instant: datetime

    def evaluate(self, plan: Plan) -> Result:
        """The server's result. Raises EvaluationError."""
        return self.attempt.look_up(plan, self.instant)


def questions(groups: Iterable[Group], now: datetime) -> list[Question]:
    """What the rules of `groups` will ask, less what reads what one of them may record before: each once."""
    asked: dict[Question, None] = {}
    recorded: set[str] = set()
    for group in groups:
        at = now - timedelta(seconds=group.query_offset)
        for rule in group.rules:
            reads = rule.plan.reads
            if not recorded if reads is None else recorded.isdisjoint(reads):
                asked[Question(rule.plan.text, at)] = None
            recorded |= {rule.name} if isinstance(rule, RecordingRule) else {ALERTS, ALERTS_FOR_STATE}
    return list(asked)
