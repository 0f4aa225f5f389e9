"""Whether a server shows what it has acknowledged: it is asked for the newest sample that was sent to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tocsin.model import METRIC_NAME, Labels, Matcher, MatchOp
from tocsin.promql import Result, Vector
from tocsin.series.journal import Batch
from tocsin.series.remote.queue import Describe

_PLAIN: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True, slots=True)
class Mark:
    """A sample to look for."""

    labels: Labels
    """The metric's name included."""
    at: int
    """Milliseconds since the epoch."""

    @property
    def question(self) -> str:
        """PromQL for the time of the newest sample of that series."""
        matchers = (Matcher(name=name, op=MatchOp.EQUAL, value=value) for name, value in self.labels.items())
        return f"timestamp({{{', '.join(map(str, matchers))}}})"

    def shown(self, answer: Result) -> bool:
        """Whether the answer is that sample, or a later one."""
        return isinstance(answer, Vector) and any(value * 1000 > self.at - 1 for value in answer.values.tolist())


class Newest:
    """Keeps the newest sample that is no end of a series."""

    def __init__(self, external: Labels) -> None:
        self.mark: Mark | None = None
        """None before there was one."""
        self._external = external

    def note(self, batches: Sequence[Batch], describe: Describe) -> None:
        """Look at what was appended."""
        for batch in reversed(batches):
            if self.mark is not None and batch.at < self.mark.at:
                return
            value = float(batch.values[-1])
            name, labels = describe(int(batch.serials[-1]))
            if value == value and all(_PLAIN.fullmatch(each) for each in labels):
                self.mark = Mark(Labels({**self._external, **labels, METRIC_NAME: name}), batch.at)
                return
