"""Which series of a table match, remembered until series come or go; and the rows that a query needs of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tocsin.model import METRIC_NAME, Matcher, MatchOp
from tocsin.promql.frame import Frame
from tocsin.promql.matchers import matches
from tocsin.promql.storage import Panel, Rows
from tocsin.series.chunk import Decoded, Samples
from tocsin.series.spliced import spliced
from tocsin.series.table import Table

Matchers = tuple[Matcher, ...]


class Selection:
    """The matching series of one table: columns, their frame, their timelines."""

    __slots__ = ("columns", "each", "few", "frame", "lines", "timeline", "version", "whole")

    def __init__(self, table: Table, matchers: Matchers) -> None:
        self.whole = table.frame
        chosen = matching(table.frame, matchers)
        self.columns: slice | Rows
        if chosen is None:
            self.columns, self.frame = slice(0, table.size), table.frame
        else:
            self.columns, self.frame = _as_slice(chosen), table.frame.take(chosen)
        self.lines: slice | Rows
        self._find_lines(table)

    def refresh(self, table: Table) -> bool:
        """Catch up with the table; False when series came or went, so that a new selection is needed.

        A series that changed its timeline leaves the frame as it is, and all that is remembered on it.
        """
        if self.version != table.version:
            if self.whole is not table.frame:
                return False
            self._find_lines(table)
        return True

    def _find_lines(self, table: Table) -> None:
        self.version = table.version
        chosen = self.columns
        lines, self.timeline = np.unique(table.panel().timeline[chosen], return_inverse=True)
        self.lines = _as_slice(lines)
        self.few = len(lines) <= 4
        self.each: list[int] = lines.tolist() if self.few else []

    def panel(self, table: Table, after: int, until: int, decoded: Decoded) -> Panel | None:
        """The samples in (after, until], or None where there are none; rows of other times may come along."""
        if not self.frame.size:
            return None
        sealed = [chunk for chunk in table.chunks if chunk.last > after and chunk.first <= until]
        if sealed:
            return self._spliced(table, [decoded.samples(chunk) for chunk in sealed])
        whole = table.panel()
        finder = whole.finder
        assert finder is not None
        if self.few:
            # Of one series this is a good part of the whole query, so numpy's slower doors are left aside here.
            columns = [finder.times[:, line] for line in self.each]
            first = min([int(column.searchsorted(after, "right")) for column in columns])
            last = max([int(column.searchsorted(until, "right")) for column in columns])
        else:
            first = int(finder.until(after)[self.lines].min())
            last = int(finder.until(until)[self.lines].max())
        if first >= last:
            return None
        return Panel(
            frame=self.frame, times=whole.times[first:last, self.lines], timeline=self.timeline,
            lengths=np.minimum(np.maximum(whole.lengths[self.lines] - first, 0), last - first),
            values=whole.values[first:last, self.columns], stale=whole.stale,
            finder=finder, lines=self.lines, first_row=first,
        )  # fmt: skip

    def _spliced(self, table: Table, parts: list[Samples]) -> Panel | None:
        """Sealed samples and the recent ones after them; None where all of them are of other series."""
        whole = table.panel()
        recent = Samples(
            serials=table.serials, timeline=whole.timeline, lengths=whole.lengths, times=whole.times,
            values=whole.values,
        )  # fmt: skip
        panel = spliced(self.frame, table.serials[self.columns], [*parts, recent], stale=True)
        return panel if len(panel.values) else None


def _as_slice(numbers: Rows) -> slice | Rows:
    """A slice where the numbers follow each other: views cost nothing."""
    if len(numbers) and numbers[-1] - numbers[0] == len(numbers) - 1:
        return slice(int(numbers[0]), int(numbers[-1]) + 1)
    return numbers


def matching(frame: Frame, matchers: Sequence[Matcher]) -> Rows | None:
    """The rows that match; None for all. Each distinct label value is looked at once."""
    kept: np.ndarray[tuple[int, ...], np.dtype[np.bool_]] | None = None
    values = frame.dictionary.values
    for matcher in matchers:
        column = frame.column(matcher.name)
        if matcher.op in (MatchOp.EQUAL, MatchOp.NOT_EQUAL):
            code = frame.dictionary.codes([matcher.value])[0] if matcher.value in frame.dictionary else -1
            hit = (column == code) if matcher.op is MatchOp.EQUAL else (column != code)
        else:
            codes, inverse = np.unique(column, return_inverse=True)
            hit = np.array([matches(matcher, values[code]) for code in codes.tolist()], bool)[inverse]
        kept = hit if kept is None else kept & hit
    if kept is None or kept.all():
        return None
    return np.flatnonzero(kept)


def may_hold(name: str, matchers: Sequence[Matcher]) -> bool:
    """Whether a table of this name can match."""
    return all(matches(matcher, name) for matcher in matchers if matcher.name == METRIC_NAME)
