"""A bench for one rule group: say what each expression yields, step the clock, look at the alerts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import pytest

from tocsin.errors import EvaluationError
from tocsin.model import Alert, AlertState, BlindSpot, Labels, Sample, utc
from tocsin.promql import Dictionary, Frame, Plan, Result, Vector
from tocsin.rules import (
    NO_MEMORY,
    NOTHING_REMOVED,
    AllRemoved,
    Group,
    GroupMemory,
    GroupResult,
    evaluate_group,
    load_text,
)

START = utc(1_700_000_000)
Pairs = Sequence[tuple[Mapping[str, str], float]]


def vector(pairs: Pairs) -> Vector:
    """An instant vector of these label sets and values."""
    dictionary = Dictionary()
    names = sorted({name for labels, _ in pairs for name in labels})
    columns = {name: dictionary.codes([labels.get(name, "") for labels, _ in pairs]) for name in names}
    return Vector(Frame(dictionary, columns, len(pairs)), np.array([value for _, value in pairs], float), START)


@dataclass
class SaidRound:
    """A Round that yields what it was told to, by the text of the expression."""

    says: Mapping[str, Pairs | Exception | Result]

    def evaluate(self, plan: Plan) -> Result:
        said = self.says.get(plan.text, ())
        if isinstance(said, Exception):
            raise said
        return said if not isinstance(said, Sequence) else vector(said)


@dataclass
class Bench:
    """One group under a clock of its own."""

    group: Group
    now: datetime = START
    says: dict[str, Pairs | Exception | Result] = field(default_factory=dict)
    alerts: Mapping[str, Alert] = field(default_factory=dict)
    blind: list[BlindSpot] = field(default_factory=list)
    removed: AllRemoved = NOTHING_REMOVED
    memory: GroupMemory = NO_MEMORY
    stored: list[Sample] = field(default_factory=list)
    asked_at: list[datetime] = field(default_factory=list)
    refuses: Exception | None = None

    def step(self, seconds: float = 0.0, **says: Pairs | Exception) -> GroupResult:
        """Move the clock, say what the metrics yield, evaluate."""
        self.now += timedelta(seconds=seconds)
        self.says |= says
        result = evaluate_group(
            self.group,
            self._round,
            self.alerts,
            self.blind,
            self.now,
            record=self._record,
            memory=self.memory,
            external_labels={"region": "eu"},
            external_url="http://tocsin.example/x",
            removed=self.removed,
        )
        self.alerts, self.memory = result.alerts, result.memory
        return result

    def _round(self, at: datetime) -> SaidRound:
        self.asked_at.append(at)
        return SaidRound(dict(self.says))

    def _record(self, samples: Sequence[Sample]) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.stored += samples

    def hide(self, *metrics: str, source: str = "db", **labels: str) -> None:
        """From now on these metrics can't be seen, or only the series with these labels."""
        spot = BlindSpot(
            source=source, why="no answer", since=self.now, metrics=frozenset(metrics), labels=Labels(labels)
        )
        self.blind.append(spot)

    def show(self) -> None:
        """Everything can be seen again."""
        self.blind.clear()

    @property
    def states(self) -> list[tuple[str, AlertState]]:
        """(the value of label `i`, state) of every alert."""
        return sorted((alert.labels.get("i", ""), alert.state) for alert in self.alerts.values())

    @property
    def only(self) -> Alert:
        (alert,) = self.alerts.values()
        return alert


def bench(rules: str) -> Bench:
    """A bench for the rules (items of a group's `rules`, indented as you like)."""
    indented = "\n".join(f"      {line}" for line in rules.strip("\n").splitlines())
    (group,) = load_text(f"groups:\n  - name: g\n    rules:\n{indented}\n")
    return Bench(group)


@pytest.fixture
def make_bench() -> Callable[[str], Bench]:
    """`make_bench(rules)`."""
    return bench


@pytest.fixture
def simple() -> Bench:
    """`m`, pending for a minute."""
    return bench("- {alert: A, expr: m, for: 1m}")


@pytest.fixture
def instant() -> Bench:
    """`m`, firing at once."""
    return bench("- {alert: A, expr: m}")


@pytest.fixture
def failure() -> EvaluationError:
    """An evaluation that did not work."""
    return EvaluationError("query processing would load too many samples")
