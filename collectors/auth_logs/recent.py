"""How many different members were seen in a sliding window, in bounded memory: a sketch, and one sketch per subject.

A member falls into one of `cells` by its hash; a cell keeps when it was last hit. For any window the cells that were
hit within it are the bitmap of linear counting, which estimates n = -m ln(empty / m): 15 members in 512 cells within
half a member, 300 within 3 %, on average. Full cells read about 6 m: a lower bound.

Sources: Whang et al., A Linear-Time Probabilistic Counting Algorithm (1990), for the estimate; Kim and O'Hallaron,
Counting Network Flows in Real Time (2003), for times in the place of bits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from math import log
from typing import Any, Final

from tocsin.model import Seconds

HORIZON: Final[Seconds] = 3600.0
"""The longest window."""
CELLS: Final = 512
_SUBJECTS: Final = 4096


class Recent:
    """Different members, given as hashes; times in seconds since the epoch."""

    __slots__ = ("_cells", "_seen")

    def __init__(self, cells: int = CELLS) -> None:
        self._cells = cells
        self._seen: dict[int, Seconds] = {}

    def see(self, member: int, at: Seconds) -> None:
        self._seen[member % self._cells] = at

    def count(self, window: Seconds, at: Seconds) -> int:
        """Those seen after `at - window`, about."""
        hit = sum(1 for seen in self._seen.values() if seen > at - window)
        empty = max(self._cells - hit, 0.5)
        return round(-self._cells * log(empty / self._cells))

    def forget(self, before: Seconds) -> None:
        self._seen = {cell: seen for cell, seen in self._seen.items() if seen > before}

    def __len__(self) -> int:
        """Cells that were hit."""
        return len(self._seen)

    def to_json(self) -> list[Any]:
        return [[cell, seen] for cell, seen in self._seen.items()]

    def load(self, rows: list[Any]) -> None:
        """What `to_json` gave. Raises ValueError or TypeError for anything else."""
        self._seen = {int(cell) % self._cells: float(seen) for cell, seen in rows}


class Spread:
    """Different members by subject. The 4096 subjects seen last are remembered; those of the most members are told."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._subjects: OrderedDict[str, Recent] = OrderedDict()
        """The one seen last is the last."""

    def see(self, subject: str, member: int, at: Seconds) -> None:
        recent = self._subjects.get(subject)
        if recent is None:
            recent = self._subjects[subject] = Recent()
            if len(self._subjects) > _SUBJECTS:
                self._subjects.popitem(last=False)
        else:
            self._subjects.move_to_end(subject)
        recent.see(member, at)

    def forget(self, before: Seconds) -> None:
        """What was not seen since."""
        for subject, recent in list(self._subjects.items()):
            recent.forget(before)
            if not len(recent):
                del self._subjects[subject]

    def counts(self, window: Seconds, at: Seconds) -> Iterator[tuple[str, int]]:
        """Subjects of two members and more, at most `places`."""
        found = [(subject, recent.count(window, at)) for subject, recent in self._subjects.items() if len(recent) > 1]
        several = sorted((row for row in found if row[1] > 1), key=lambda row: (-row[1], row[0]))
        yield from several[: self._places]

    def to_json(self) -> list[Any]:
        """Subjects of one member are left out: a restart forgets them."""
        rows = [[subject, recent.to_json()] for subject, recent in self._subjects.items()]
        return [row for row in rows if len(row[1]) > 1]

    def load(self, rows: list[Any]) -> None:
        """What `to_json` gave. Raises ValueError or TypeError for anything else."""
        for subject, seen in rows[-_SUBJECTS:]:
            self._subjects[str(subject)] = recent = Recent()
            recent.load(seen)
