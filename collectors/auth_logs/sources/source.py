"""The seam between where log lines come from and what is counted of them.

A source yields batches of lines, each with the position after it. `read` changes nothing, `commit` does: the collector
counts and commits a batch in one go, and saves position and counters as one. So each line is counted once, whatever is
killed when. Counting knows lines only, and a source knows nothing of what they mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


class Trouble(Exception):
    """The source can't be read now. The message says why, and what to do about it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Lines, and what the source is told back when they are counted."""

    lines: Sequence[bytes] = ()
    size: int = 0
    """Bytes that were read for it."""
    oversize: int = 0
    """Lines that were too long to be read at all."""
    gaps: int = 0
    """Times that lines before these were lost."""
    late: int = 0
    """Of `lines`, those that were fetched because they had not come."""
    after: Any = None
    """The source's own: where it stands after these lines."""


class Source(Protocol):
    """One place that log lines come from."""

    name: str
    """Which place: a position that was saved for another is not gone on from."""

    not_told: frozenset[str]
    """Metrics that this source can't tell: they are not yielded, for a zero would say that all is well."""

    @property
    def beside(self) -> str:
        """Why what is asked beside the log is not known; empty: it is, or nothing is asked."""

    async def look(self, at: datetime) -> tuple[int, str]:
        """Begin a poll: (times that unread lines were lost, why no more can be read now; empty: nothing is in the way).

        What was found before the trouble is still read. Raises CollectError.
        """

    async def read(self) -> Batch | None:
        """The next lines; None when all is read. Changes nothing. Raises Trouble and CollectError."""

    def commit(self, batch: Batch) -> None:
        """The lines of `batch` were counted."""

    async def unread(self) -> int | None:
        """Bytes that are not read yet; None: that can't be known."""

    async def signature(self) -> object:
        """Changes when there is something to read; None: that can be known by reading only. Raises OSError."""

    def to_json(self) -> Any:
        """The position, for the next run."""

    async def close(self) -> None:
        """Release what is open."""
