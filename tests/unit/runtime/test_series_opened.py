"""The series store as the configuration wants it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from tocsin.runtime.clock import SteadyClock
from tocsin.runtime.memory import open_store


def test_the_bounds_of_the_configuration_are_the_stores(tmp_path: Path) -> None:
    """Retention by time and by bytes and the cap on series, on disk and where the folder can't be had."""
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "series", tmp_path / "file"):
        opened = open_store(folder, SteadyClock(), retention=3600.0, max_bytes=5_000_000, max_series=700)
        with closing(opened) as store:
            assert (store.retention, store.max_bytes, store.max_series) == (3600.0, 5_000_000, 700)
