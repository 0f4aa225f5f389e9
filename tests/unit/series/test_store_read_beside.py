"""Reading a store's folder while another process writes to it."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tocsin.errors import StateError
from tocsin.model import STALE, Labels, Matcher, MatchOp, Sample
from tocsin.promql import Matrix, Round, Storage, Vector, compile_expr
from tocsin.series import Layered, Store, read_store
from tocsin.series.disk import Glimpse
from tocsin.series.durable import fill
from tocsin.series.layered import HEARTBEAT, extent, silent

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
Points = dict[Labels, list[tuple[int, float]]]


def after(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


def poll(second: int) -> list[Sample]:
    return [Sample(name="m", labels=Labels(i=str(i)), value=second + i, at=after(second)) for i in range(3)]


def points(storage: Storage, at: datetime, expression: str = '{__name__=~".+"}[3d]') -> Points:
    """Every sample."""
    result = Round(storage, at).evaluate(compile_expr(expression))
    assert isinstance(result, Matrix)
    return {line.labels: list(zip(line.times.tolist(), line.values.tolist(), strict=True)) for line in result}


def instant(storage: Storage, expression: str) -> dict[str, float]:
    result = Round(storage, EPOCH).evaluate(compile_expr(expression))
    assert isinstance(result, Vector)
    return {f"{labels['__name__']}{labels.without('__name__')!r}": value for labels, value in result}


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_store_in_use_is_read_whole_and_left_as_it_is(tmp_path: Path) -> None:
    """Sealed and recent samples alike, without the lock."""
    store = Store.open(tmp_path, raw=600)
    for second in range(0, 7200, 15):
        store.append(poll(second))
        store.flush()
    before = contents(tmp_path)
    copy = read_store(tmp_path)
    assert (points(copy, after(7200)), contents(tmp_path)) == (points(store, after(7200)), before)
    assert list(tmp_path.glob("chunks/*.chunks"))
    store.close()


def test_a_poll_that_is_half_written_is_left_out(tmp_path: Path) -> None:
    """The reader may come in the middle of a write."""
    store = Store.open(tmp_path)
    for second in (0, 15, 30):
        store.append(poll(second))
        store.flush()
    (segment,) = tmp_path.glob("journal/*.journal")
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-10])
    copy = read_store(tmp_path)
    assert copy.newest == after(15)
    assert (len(copy.recovery.damage), segment.read_bytes()) == (1, whole[:-10])
    store.close()


def test_what_is_sealed_between_two_looks_is_neither_missing_nor_twice(tmp_path: Path) -> None:
    """The segment is held from the first look on, however often it is replaced afterwards."""
    store = Store.open(tmp_path, raw=600)
    for second in range(0, 1500, 15):
        store.append(poll(second))
        store.flush()
    expected = points(store, after(1500))
    glimpse = Glimpse(tmp_path)
    store.checkpoint()
    copy = Store(retention=1e12, raw=1e12)
    fill(copy, glimpse)
    assert points(copy, after(1500)) == expected
    store.close()


WRITER = """
import sys
from datetime import timedelta
from pathlib import Path
sys.path.insert(0, {tests!r})
from tocsin.model import Labels, Sample, utc
from tocsin.series import Store
store = Store.open(Path({folder!r}), raw=60)
print("ready", flush=True)
second = 0
while True:
    at = utc(1_767_225_600 + second)
    store.append([Sample(name="m", labels=Labels(i="0"), value=float(second), at=at)])
    store.flush()
    second += 15
"""


def test_reading_while_segments_are_replaced_gives_an_unbroken_row(tmp_path: Path) -> None:
    """A real process writes and seals as fast as it can; what is read has no hole."""
    script = WRITER.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    writer = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        lasts: list[float] = []
        deadline = time.monotonic() + 60
        while len(lasts) < 25:
            assert time.monotonic() < deadline
            copy = read_store(tmp_path)
            if copy.newest is None:  # it has written nothing yet
                continue
            ((_, samples),) = points(copy, copy.newest, "m[200y]").items()
            values = [value for _, value in samples]
            assert values == np.arange(0.0, values[-1] + 1, 15.0).tolist()
            lasts.append(values[-1])
        assert lasts == sorted(lasts)
        assert lasts[-1] > lasts[0]
    finally:
        writer.kill()
        writer.wait()
        assert writer.stdout is not None
        writer.stdout.close()


def test_where_there_is_no_store_that_is_said(tmp_path: Path) -> None:
    """A wrong path must not read as a past without samples."""
    with pytest.raises(StateError, match="there is no series store at"):
        read_store(tmp_path / "absent")
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="is not the folder of a series store"):
        read_store(tmp_path / "file")


# The layer -----------------------------------------------------------------------------------------------------------


def test_what_is_recorded_is_seen_and_the_past_stays_as_it_is() -> None:
    """Names that rules yield are read from the layer alone."""
    past = Store()
    past.append([Sample(name="m", value=1.0, at=EPOCH), Sample(name="r", value=1.0, at=EPOCH)])
    layered = Layered(past, {"r"})
    layered.append([Sample(name="r", labels=Labels(new="yes"), value=2.0, at=EPOCH)])
    assert instant(layered, '{__name__=~"."}') == {"m{}": 1.0, 'r{new="yes"}': 2.0}
    assert instant(past, "r") == {"r{}": 1.0}


def test_many_steps_at_once_are_the_same_as_step_by_step() -> None:
    """Staleness markers included."""
    times = np.array([0, 15_000, 30_000], np.int64)
    present = np.array([[True, True], [False, True], [True, True]])
    layered = Layered(Store(), {"r"})
    labels = [Labels(i="0"), Labels(i="1")]
    layered.record("r", labels, times, np.arange(6.0).reshape(3, 2), present)
    panels = layered.select((Matcher(name="__name__", op=MatchOp.EQUAL, value="r"),), -1, 60_000)
    held = {
        panel.frame.value(column, "i"): panel.values[: panel.lengths[panel.timeline[column]], column].tobytes()
        for panel in panels
        for column in range(panel.frame.size)
    }
    assert held == {"0": np.array([0.0, STALE, 4.0]).tobytes(), "1": np.array([1.0, 3.0, 5.0]).tobytes()}


def test_the_extent_and_the_times_without_any_sample() -> None:
    """The heartbeat of every poll tells when the daemon was not running."""
    store = Store(retention=1e9)
    for second in [*range(0, 600, 15), *range(1800, 2400, 15)]:
        store.append([Sample(name=HEARTBEAT, value=1.0, at=after(second)), *poll(second)])
    assert extent(store) == (EPOCH, after(2385))
    assert silent(store, EPOCH, after(2385), timedelta(minutes=5)) == [(after(585), after(1800))]
    assert extent(Store()) is None
