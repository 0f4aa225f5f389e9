"""Whether a server shows what it has acknowledged: it is asked for the newest sample that was sent to it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from tocsin.model import METRIC_NAME, Labels, Matcher, MatchOp
from tocsin.promql import Result, Vector
from tocsin.series.journal import Batch
from tocsin.series.remote.queue import Describe

_PLAIN: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


class Newest:
    """The newest sample that is no end of a series."""

    def __init__(self, external: Labels) -> None:
        self._external = external
        self._labels: Labels | None = None
        self._at = 0

    def note(self, batches: Sequence[Batch], describe: Describe) -> None:
        """Look at what was appended."""
        for batch in reversed(batches):
            value = float(batch.values[-1])
            if batch.at < self._at:
                return
            name, labels = describe(int(batch.serials[-1]))
            if value == value and all(_PLAIN.fullmatch(each) for each in labels):
                self._labels = Labels({**self._external, **labels, METRIC_NAME: name})
                self._at = batch.at
                return

    def question(self) -> str | None:
        """PromQL for the time of its newest sample at the server; None before there was one."""
        if self._labels is None:
            return None
        matchers = (Matcher(name=name, op=MatchOp.EQUAL, value=value) for name, value in self._labels.items())
        return f"timestamp({{{', '.join(map(str, matchers))}}})"

    def shown(self, answer: Result) -> bool:
        """Whether the answer is that sample, or a later one."""
        return isinstance(answer, Vector) and any(value * 1000 > self._at - 1 for value in answer.values.tolist())
