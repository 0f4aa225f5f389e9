"""One metric: its recent samples, and the chunks into which older ones were sealed."""

from __future__ import annotations

import numpy as np

from tocsin.model import Labels
from tocsin.promql.frame import Codes, Dictionary
from tocsin.promql.storage import Array, Bools, Rows
from tocsin.promql.window import BEYOND, rows_until
from tocsin.series.chunk import Chunk, encode
from tocsin.series.columns import Columns


class Table(Columns):
    """The samples of one metric."""

    def __init__(self, name: str, dictionary: Dictionary) -> None:
        super().__init__(name, dictionary)
        self.chunks: list[Chunk] = []
        """Oldest first."""

    # Ageing ----------------------------------------------------------------------------------------------------------

    def seal(self, until: int) -> Chunk | None:
        """Compress the samples at or before `until` into a chunk, and let go of them. None where there are none."""
        samples = self.samples_until(until)
        if samples is None:
            self.sealed = max(self.sealed, until)
            return None
        chunk = encode(self.name, until, samples)
        self.keep(chunk)
        self.drop_rows(until)
        return chunk

    def keep(self, chunk: Chunk) -> None:
        """Add a chunk, newer than those there are."""
        self.chunks.append(chunk)
        self.sealed = max(self.sealed, chunk.until)

    def forget(self, until: int) -> bool:
        """Drop samples at or before `until` (chunks when all of theirs are), and series that have none left.

        True when series went, so that columns have new numbers.
        """
        self.chunks = [chunk for chunk in self.chunks if chunk.last > until]
        if self.size:
            self.drop_rows(until)
        empty = np.flatnonzero(self._lengths[self._line[: self.size]] == 0)
        # Newest first: a series that goes on is in the last chunk, and the others needn't be searched.
        for chunk in reversed(self.chunks):
            if not empty.size:
                break
            empty = empty[~np.isin(self._serials[empty], chunk.serials)]
        if not empty.size:
            return False
        self.keep_columns(np.delete(np.arange(self.size), empty))
        return True

    # Counting --------------------------------------------------------------------------------------------------------

    @property
    def samples(self) -> int:
        """How many samples are held."""
        recent = int((self._lengths[: self.lines] * self._members[: self.lines]).sum())
        return recent + sum(chunk.samples for chunk in self.chunks)

    @property
    def newest(self) -> int:
        """The time of the newest sample, in milliseconds."""
        sealed = max((chunk.last for chunk in self.chunks), default=-BEYOND)
        return max(sealed, int(self._newest[: self.lines].max(initial=-BEYOND)))

    @property
    def nbytes(self) -> int:
        """Memory held by the arrays."""
        arrays: tuple[Array, ...] = (self._values, self._times, self._line, *self._columns.values())
        return sum(array.nbytes for array in arrays) + sum(chunk.nbytes for chunk in self.chunks)

    def active(self, after: int, until: int) -> Bools:
        """[n] whether each series has a sample in (after, until]."""
        rows = rows_until(self.panel(), np.array([after, until], np.int64))
        active: Bools = (rows[1] > rows[0])[self._line[: self.size]]
        for chunk in self.chunks:
            if chunk.last > after and chunk.first <= until:
                active |= np.isin(self.serials, chunk.serials)
        return active

    def codes(self) -> set[int]:
        """The numbers of the label values in use."""
        return {code for column in self._columns.values() for code in np.unique(column[: self.size]).tolist()}

    def renumber(self, dictionary: Dictionary, numbers: Codes) -> None:
        """Take another dictionary; `numbers` gives each old number's new one."""
        self.dictionary = dictionary
        self._columns = {name: numbers[column] for name, column in self._columns.items()}
        self._changed()

    def labels_by(self, serials: Rows) -> list[Labels]:
        """The label sets of series told by their numbers."""
        columns = dict(zip(self.serials.tolist(), self.labels, strict=True))
        return [columns[serial] for serial in serials.tolist()]
