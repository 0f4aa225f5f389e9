"""Reading the store: panels for PromQL, and lists of what there is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from tocsin.model import METRIC_NAME, Labels, Matcher, MatchOp, utc
from tocsin.promql.frame import Dictionary, Frame
from tocsin.promql.storage import Panel
from tocsin.promql.window import BEYOND
from tocsin.series.chunk import Decoded
from tocsin.series.selection import Matchers, Selection, matching, may_hold
from tocsin.series.table import Table

_SELECTIONS_KEPT = 4096


class Catalogue:
    """The tables and what is remembered of looking into them."""

    def __init__(self, decoded_bytes: int) -> None:
        self.dictionary = Dictionary()
        self._tables: dict[str, Table] = {}
        self._selections: dict[tuple[str, Matchers], Selection] = {}
        self._decoded = Decoded(decoded_bytes)

    def select(self, matchers: Sequence[Matcher], after: int, until: int) -> Sequence[Panel]:
        """As tocsin.promql's Storage."""
        wanted = tuple(matchers)
        panels = []
        for name in self._candidates(wanted):
            panel = self._selection(name, wanted).panel(self._tables[name], after, until, self._decoded)
            if panel is not None:
                panels.append(panel)
        return panels

    def _candidates(self, matchers: Matchers) -> list[str]:
        for matcher in matchers:
            if matcher.name == METRIC_NAME and matcher.op is MatchOp.EQUAL:
                return [matcher.value] if matcher.value in self._tables and may_hold(matcher.value, matchers) else []
        return [name for name in self._tables if may_hold(name, matchers)]

    def _selection(self, name: str, matchers: Matchers) -> Selection:
        known = self._selections.get((name, matchers))
        table = self._tables[name]
        if known is None or not known.refresh(table):
            if len(self._selections) >= _SELECTIONS_KEPT:
                self._selections.clear()
            known = self._selections[name, matchers] = Selection(table, matchers)
        return known

    def frames(
        self, matchers: Sequence[Matcher] = (), *, after: datetime | None = None, until: datetime | None = None
    ) -> list[Frame]:
        """The series that match and have a sample in (after, until], by metric: cheap, nothing is spelled out yet.

        What is given stays as it is however the store changes, and may be read in another thread.
        """
        wanted = tuple(matchers)
        found: list[Frame] = []
        for name in self._candidates(wanted):
            table = self._tables[name]
            chosen = matching(table.frame, wanted)
            if after is None and until is None:
                found.append(table.frame if chosen is None else table.frame.take(chosen))
                continue
            rows = np.arange(table.size) if chosen is None else chosen
            found.append(table.frame.take(rows[table.active(*_bounds(after, until))[rows]]))
        return [frame for frame in found if frame.size]

    def series(
        self, matchers: Sequence[Matcher] = (), *, after: datetime | None = None, until: datetime | None = None
    ) -> list[Labels]:
        """The label sets (with `__name__`) that match and have a sample in (after, until]."""
        return [labels for frame in self.frames(matchers, after=after, until=until) for labels in frame.labels()]

    def label_names(
        self, matchers: Sequence[Matcher] = (), *, after: datetime | None = None, until: datetime | None = None
    ) -> list[str]:
        """The names of the labels of the matching series, sorted."""
        if after is not None or until is not None:
            return sorted({name for labels in self.series(matchers, after=after, until=until) for name in labels})
        names: set[str] = set()
        for name in self._candidates(tuple(matchers)):
            frame = self._selection(name, tuple(matchers)).frame
            names.update(each for each in frame.names if frame.column(each).any())
        return sorted(names)

    def label_values(
        self, label: str, matchers: Sequence[Matcher] = (), *, after: datetime | None = None,
        until: datetime | None = None,
    ) -> list[str]:  # fmt: skip
        """The values of one label over the matching series, sorted."""
        if after is not None or until is not None:
            found = self.series(matchers, after=after, until=until)
            return sorted({labels[label] for labels in found if label in labels})
        codes: set[int] = set()
        for name in self._candidates(tuple(matchers)):
            codes.update(np.unique(self._selection(name, tuple(matchers)).frame.column(label)).tolist())
        return sorted(self.dictionary.values[code] for code in codes if code)

    def metric_names(self) -> list[str]:
        """The names of all metrics held, sorted."""
        return sorted(self._tables)

    def series_by_metric(self) -> dict[str, int]:
        """How many series each metric has."""
        return {name: table.size for name, table in self._tables.items()}

    @property
    def sample_count(self) -> int:
        """Samples held, sealed ones included."""
        return sum(table.samples for table in self._tables.values())

    @property
    def nbytes(self) -> int:
        """Bytes of samples and label columns, sealed ones included."""
        return sum(table.nbytes for table in self._tables.values())

    def newest_of(self, metric: str) -> datetime | None:
        """The time of the newest sample of one metric."""
        table = self._tables.get(metric)
        return None if table is None or not table.size else utc(table.newest / 1000)


def _bounds(after: datetime | None, until: datetime | None) -> tuple[int, int]:
    low = -BEYOND if after is None else round(after.timestamp() * 1000)
    high = BEYOND - 1 if until is None else round(until.timestamp() * 1000)
    return low, high
