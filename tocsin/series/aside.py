"""A store's folder, read while a daemon may be writing to it.

with opened_aside(Path("tocsin-series")) as store:
    Round(store, store.newest).evaluate(plan)

The files are linked (copied, where that can't be) into a folder of our own and opened there, so the daemon's lock is
not needed and nothing of its is touched. What is seen is the store as the last poll left it. Nothing can be appended.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tocsin.errors import StateError
from tocsin.series.store import Store

_TRIES: Final = 5
_FOREVER: Final = 10 * 365 * 86_400.0
_ANY_NUMBER: Final = 1 << 31


@contextmanager
def opened_aside(folder: Path) -> Iterator[Store]:
    """The store in `folder`, for reading. Raises StateError where there is none."""
    if not (folder / "journal").is_dir():
        raise StateError(f"there is no series store at {folder}; see series.path in config.yaml")
    with tempfile.TemporaryDirectory(prefix="tocsin-series-") as aside:
        _taken(folder, Path(aside))
        store = Store.open(Path(aside), retention=_FOREVER, max_series=_ANY_NUMBER)
        # From here on in memory only: `close` would write a snapshot that nobody reads.
        durable, store._durable = store._durable, None
        try:
            yield store
        finally:
            if durable is not None:
                durable.close()


def _taken(folder: Path, aside: Path) -> None:
    for _ in range(_TRIES):
        # The journal first: what a checkpoint moves from it into a chunk meanwhile is seen twice, and taken once.
        if _link_all(folder / "journal", aside / "journal") and _link_all(folder / "chunks", aside / "chunks"):
            return
        shutil.rmtree(aside)
        aside.mkdir()
    raise StateError(f"the series store at {folder} changes faster than it can be read; try again")


def _link_all(source: Path, target: Path) -> bool:
    """False when a file went away in the middle."""
    target.mkdir(parents=True)
    for path in sorted(source.glob("*.journal")) + sorted(source.glob("*.chunks")):
        try:
            _link(path, target / path.name)
        except FileNotFoundError:
            return False
    return True


def _link(path: Path, to: Path) -> None:
    try:
        os.link(path, to)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(path, to)
