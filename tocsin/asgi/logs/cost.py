"""What the request log costs: bytes a day by route, written and left out, from a folder of log files."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import orjson

from tocsin.asgi.logs.files import PATTERN
from tocsin.errors import InputError

DAY: Final = 86400.0
ERRORS: Final = "(errors)"
"""The lines with stacks: not per request."""
OTHERS: Final = "(other lines)"


@dataclass(slots=True)
class Route:
    """One route's lines over the time that the folder covers."""

    lines: int = 0
    size: int = 0
    """Bytes before compression, line ends included."""
    requests: int = 0
    """What the lines stand for."""

    @property
    def left_out(self) -> int:
        """Requests without a line."""
        return max(0, self.requests - self.lines)

    @property
    def size_of_all(self) -> float:
        """Bytes if every request had its line."""
        return self.size / self.lines * max(self.requests, self.lines) if self.lines else 0.0


@dataclass(slots=True)
class Cost:
    """All routes of a folder."""

    routes: dict[str, Route] = field(default_factory=dict)
    first: datetime | None = None
    last: datetime | None = None
    unreadable: int = 0
    """Lines that are not ours."""
    broken: dict[str, str] = field(default_factory=dict)
    """Files that could not be read to their end, and why; what came before is counted."""
    stored: int = 0
    """Bytes on disk, compressed."""

    @property
    def days(self) -> float:
        """Between the first line and the last."""
        if self.first is None or self.last is None:
            return 0.0
        return (self.last - self.first).total_seconds() / DAY

    def add(self, line: bytes) -> None:
        """Count one line."""
        try:
            found = orjson.loads(line)
            at = datetime.fromisoformat(found["timestamp"])
            event: str = found["event"]
            stands_for = int(found.get("stands_for", 0))
            is_error = event.startswith(("request.failed", "task.failed"))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            self.unreadable += 1
            return
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        self.first = at if self.first is None else min(self.first, at)
        self.last = at if self.last is None else max(self.last, at)
        if event in ("request.done", "request.left_out"):
            route = self.routes.setdefault(str(found.get("route")), Route())
            route.requests += stands_for
            if event == "request.left_out":
                return
        else:
            route = self.routes.setdefault(ERRORS if is_error else OTHERS, Route())
        route.lines += 1
        route.size += len(line) + 1


def read_cost(folder: Path) -> Cost:
    """Read every log file of `folder`, compressed ones too; one that is damaged as far as it goes.

    Raises InputError where there is none, and where none can be read.
    """
    files = sorted(path for path in folder.iterdir() if PATTERN.fullmatch(path.name)) if folder.is_dir() else []
    if not files:
        raise InputError.at(
            str(folder), 0, "no requests.*.jsonl or .jsonl.gz there", "name the folder of TOCSIN_APP_LOG_FOLDER"
        )
    cost = Cost()
    for path in files:
        try:
            cost.stored += path.stat().st_size
            for line in _lines(path):
                cost.add(line)
        except FileNotFoundError:
            continue  # it was turned or deleted meanwhile
        except (OSError, EOFError, zlib.error) as error:
            cost.broken[path.name] = str(error)
    if not cost.routes:
        for name, why in cost.broken.items():
            raise InputError.at(str(folder / name), 0, f"can't be read: {why}", "remove it, or read as who may")
        raise InputError.at(str(folder), 0, "its files hold no line of the request log", "let it run for a while")
    return cost


def _lines(path: Path) -> Iterator[bytes]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):  # else it is being written
                yield line.rstrip(b"\n")
