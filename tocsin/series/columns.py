"""The recent samples of one metric: a column per series, rows in the order of their coming.

Series that are always sampled together share a timeline, so a poll of a thousand series adds one time and one row. A
series that misses a poll, or comes later, moves to a timeline of its own: so every series has a sample in every row of
its timeline, and a window is a plain slice. Timelines that have become equal again are put together when old rows are
dropped.
"""

from __future__ import annotations

import numpy as np

from tocsin.model import Labels
from tocsin.promql.frame import Codes, Dictionary, Frame
from tocsin.promql.storage import Array, Finder, Floats, Millis, Panel, Rows, is_stale
from tocsin.promql.window import BEYOND, rows_until
from tocsin.series.chunk import Samples

_ROWS = 16
_COLUMNS = 4


def _grown(array: Array, rows: int, columns: int, fill: float) -> Array:
    """A copy with room for at least so many rows and columns, doubling what is short."""
    have_rows, have_columns = array.shape
    shape = (
        have_rows if rows <= have_rows else max(rows, have_rows * 2),
        have_columns if columns <= have_columns else max(columns, have_columns * 2),
    )
    if shape == array.shape:
        return array
    bigger = np.full(shape, fill, array.dtype)
    bigger[:have_rows, :have_columns] = array
    return bigger


class Columns:
    """The recent samples of one metric."""

    def __init__(self, name: str, dictionary: Dictionary) -> None:
        self.name = name
        self.dictionary = dictionary
        self.size = 0
        """Series."""
        self.lines = 0
        """Timelines."""
        self.version = 0
        """Rises when series come or go, or change their timelines."""
        self.labels: list[Labels] = []
        self._columns: dict[str, Codes] = {"__name__": np.zeros(_COLUMNS, np.int32)}
        self._values: Floats = np.zeros((_ROWS, _COLUMNS))
        self._times: Millis = np.full((_ROWS, 1), BEYOND, np.int64)
        self._line: Rows = np.zeros(_COLUMNS, np.intp)
        self._lengths: Rows = np.zeros(1, np.intp)
        self._members: Rows = np.zeros(1, np.intp)
        self._newest: Millis = np.full(1, -BEYOND, np.int64)
        self._serials: Rows = np.zeros(_COLUMNS, np.intp)
        self._stale = False
        self.sealed = -BEYOND
        """Samples at or before this time (ms) have been sealed: none of such an age is taken any more."""
        self._frame: Frame | None = None
        self._panel: Panel | None = None

    # Writing ---------------------------------------------------------------------------------------------------------

    def add(self, labels: list[Labels], serials: Rows) -> Rows:
        """New series, on a timeline of their own that they share; their column numbers."""
        first, count = self.size, len(labels)
        total = first + count
        if total > self._values.shape[1]:
            self._values = _grown(self._values, 0, total, 0.0)
            self._line = _grown(self._line[None], 0, self._values.shape[1], 0)[0]
            self._serials = _grown(self._serials[None], 0, self._values.shape[1], 0)[0]
            for name, column in self._columns.items():
                self._columns[name] = _grown(column[None], 0, self._values.shape[1], 0)[0]
        code = self.dictionary.code
        self._columns["__name__"][first:total] = code(self.name)
        for offset, each in enumerate(labels):
            for name, value in each.items():
                if name not in self._columns:
                    self._columns[name] = np.zeros(self._values.shape[1], np.int32)
                self._columns[name][first + offset] = code(value)
        self.labels += labels
        self.size = total
        added = np.arange(first, total)
        self._serials[added] = serials
        self._line[added] = self._new_line(count, source=None)
        self._changed()
        return added

    def _new_line(self, members: int, source: int | None) -> int:
        line = self.lines
        if line >= len(self._lengths):
            room = max(line + 1, 2 * len(self._lengths))
            self._times = _grown(self._times, 0, room, BEYOND)
            self._lengths = _grown(self._lengths[None], 0, room, 0)[0]
            self._members = _grown(self._members[None], 0, room, 0)[0]
            self._newest = _grown(self._newest[None], 0, room, -BEYOND)[0]
        if source is None:
            self._times[:, line] = BEYOND
            self._lengths[line], self._newest[line] = 0, -BEYOND
        else:
            self._times[:, line] = self._times[:, source]
            self._lengths[line], self._newest[line] = self._lengths[source], self._newest[source]
        self._members[line] = members
        self.lines += 1
        return line

    def _changed(self, *, series: bool = True) -> None:
        self.version += 1
        self._panel = None
        if series:
            self._frame = None

    def write(self, at: int, columns: Rows, values: Floats) -> tuple[int, int, int]:
        """A row: (taken, refused as too old, refused as already there)."""
        lines = self._line[columns]
        newest = np.maximum(self._newest[lines], self.sealed)
        fresh = newest < at
        late = same = 0
        if not fresh.all():
            late, same = int((newest > at).sum()), int((newest == at).sum())
            columns, values, lines = columns[fresh], values[fresh], lines[fresh]
        if len(columns) > 1 and len(np.unique(columns)) < len(columns):
            _, kept = np.unique(columns, return_index=True)
            same += len(columns) - len(kept)
            columns, values, lines = columns[kept], values[kept], lines[kept]
        if not len(columns):
            return 0, late, same
        lines = self._split(columns, lines)
        touched = np.unique(lines)
        rows = self._lengths[lines]
        needed = int(self._lengths[touched].max()) + 1
        if needed > len(self._values):
            self._values = _grown(self._values, needed, 0, 0.0)
            self._times = _grown(self._times, len(self._values), 0, BEYOND)
            self._panel = None
        self._values[rows, columns] = values
        self._times[self._lengths[touched], touched] = at
        self._lengths[touched] += 1
        self._newest[touched] = at
        if not self._stale and bool(is_stale(values).any()):
            self._stale = True
        self._panel = None
        return len(columns), late, same

    def fill(self, columns: Rows, times: Millis, values: Floats) -> None:
        """Rows for series that were just added together and have none yet."""
        line = int(self._line[columns[0]])
        rows = len(times)
        self._values = _grown(self._values, rows, 0, 0.0)
        self._times = _grown(self._times, len(self._values), 0, BEYOND)
        self._values[:rows, columns] = values
        self._times[:rows, line] = times
        self._lengths[line] = rows
        self._newest[line] = times[-1]
        self._stale = self._stale or bool(is_stale(values).any())
        self._panel = None

    def _split(self, columns: Rows, lines: Rows) -> Rows:
        """Gives the series written now timelines of which every member is written now."""
        counts = np.bincount(lines, minlength=self.lines)
        partial = np.flatnonzero((counts > 0) & (counts < self._members[: self.lines]))
        if not len(partial):
            return lines
        for line in partial.tolist():
            moving = columns[lines == line]
            new = self._new_line(len(moving), source=line)
            self._members[line] -= len(moving)
            self._line[moving] = new
        self._changed(series=False)
        return self._line[columns]

    def write_rows(self, times: Millis, columns: Rows, values: Floats) -> int:
        """Several rows for the same series, times rising; how many samples were taken."""
        lines = self._line[columns]
        touched = np.unique(lines)
        whole = np.array_equal(np.bincount(lines, minlength=self.lines)[touched], self._members[touched])
        in_order = bool((np.diff(times) > 0).all()) and int(times[0]) > max(
            self.sealed, int(self._newest[touched].max())
        )
        if not whole or not in_order:
            return sum(self.write(int(at), columns, row)[0] for at, row in zip(times, values, strict=True))
        count = len(times)
        needed = int(self._lengths[touched].max()) + count
        self._values = _grown(self._values, needed, 0, 0.0)
        self._times = _grown(self._times, len(self._values), 0, BEYOND)
        row = np.arange(count)[:, None]
        self._values[self._lengths[lines] + row, columns] = values
        self._times[self._lengths[touched] + row, touched] = times[:, None]
        self._lengths[touched] += count
        self._newest[touched] = times[-1]
        self._stale = self._stale or bool(is_stale(values).any())
        self._panel = None
        return count * len(columns)

    # Letting go ------------------------------------------------------------------------------------------------------

    def samples_until(self, until: int) -> Samples | None:
        """The recent samples at or before `until`, None where there are none."""
        if not self.size:
            return None
        panel = self.panel()
        lengths = rows_until(panel, np.array([until], np.int64))[0]
        rows = int(lengths.max(initial=0))
        if not rows:
            return None
        held = np.flatnonzero(lengths[panel.timeline] > 0)
        times = panel.times[:rows].copy()
        times[np.arange(rows)[:, None] >= lengths] = BEYOND
        lines, timeline = np.unique(panel.timeline[held], return_inverse=True)
        return Samples(
            serials=self._serials[held], timeline=timeline, lengths=lengths[lines], times=times[:, lines],
            values=panel.values[:rows, held],
        )  # fmt: skip

    def drop_rows(self, until: int) -> None:
        """Let go of recent samples at or before `until`; timelines that are equal now become one."""
        drop = rows_until(self.panel(), np.array([until], np.int64))[0]
        if not drop.any():
            return
        lengths = self._lengths[: self.lines] - drop
        rows = max(_ROWS, int(lengths.max()) * 5 // 4)
        kept_lines, line_of = self._equal_lines(drop, lengths)
        take = np.minimum(np.arange(rows)[:, None] + drop, len(self._times) - 1)
        times = np.take_along_axis(self._times[:, : self.lines], take, axis=0)
        times[np.arange(rows)[:, None] >= lengths] = BEYOND
        old_line = self._line[: self.size]
        values = np.take_along_axis(self._values[:, : self.size], take[:, old_line], axis=0)
        self._values = np.zeros((rows, len(self._line)))
        self._values[:, : self.size] = values
        self._line[: self.size] = line_of[old_line]
        self._times = times[:, kept_lines]
        self._lengths, self._newest = lengths[kept_lines], self._newest[: self.lines][kept_lines]
        self._members = np.bincount(self._line[: self.size], minlength=len(kept_lines))
        self.lines = len(kept_lines)
        valid = np.arange(len(self._values))[:, None] < self._lengths[self._line[: self.size]]
        self._stale = bool((is_stale(self._values[:, : self.size]) & valid).any())
        self._changed(series=False)

    def keep_columns(self, columns: Rows) -> None:
        """Only these series stay, in this order."""
        self.size = len(columns)
        self._values = self._values[:, columns] if self.size else np.zeros((_ROWS, _COLUMNS))
        self._line = self._line[columns] if self.size else np.zeros(_COLUMNS, np.intp)
        self._serials = self._serials[columns] if self.size else np.zeros(_COLUMNS, np.intp)
        kept = {name: column[columns] for name, column in self._columns.items()}
        self._columns = {name: column for name, column in kept.items() if column.any() or name == "__name__"}
        if not self.size:
            self._columns = {"__name__": np.zeros(_COLUMNS, np.int32)}
        self.labels = [self.labels[column] for column in columns.tolist()]
        self._members = np.bincount(self._line[: self.size], minlength=self.lines)
        self._changed()

    def _equal_lines(self, drop: Rows, lengths: Rows) -> tuple[Rows, Rows]:
        """The timelines to keep, and for each old one its number among them; those without rows share one too."""
        first: dict[tuple[int, bytes], int] = {}
        kept: list[int] = []
        numbers = np.zeros(self.lines, np.intp)
        for line in range(self.lines):
            if not self._members[line]:
                continue
            end = drop[line] + lengths[line]
            key = (int(lengths[line]), self._times[drop[line] : end, line].tobytes())
            if key not in first:
                first[key] = len(kept)
                kept.append(line)
            numbers[line] = first[key]
        return np.array(kept, np.intp), numbers

    @property
    def serials(self) -> Rows:
        """[n] the number of each series in the store."""
        return self._serials[: self.size]

    # Reading ---------------------------------------------------------------------------------------------------------

    @property
    def frame(self) -> Frame:
        """The label sets of all series; the same object until series come or go."""
        if self._frame is None:
            columns = {name: column[: self.size].copy() for name, column in self._columns.items()}
            self._frame = Frame(self.dictionary, columns, self.size)
        return self._frame

    def panel(self) -> Panel:
        """All samples."""
        if self._panel is None:
            rows = int(self._lengths[: self.lines].max(initial=0))
            self._panel = Panel(
                frame=self.frame, times=self._times[:rows, : self.lines], timeline=self._line[: self.size],
                lengths=self._lengths[: self.lines].copy(), values=self._values[:rows, : self.size], stale=self._stale,
                finder=Finder(self._times[:rows, : self.lines]), lines=slice(0, self.lines),
            )  # fmt: skip
        return self._panel
