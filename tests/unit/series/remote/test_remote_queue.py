"""The queue on disk: nothing lost, nothing out of order, bounded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.model import Labels
from tocsin.series.journal import Batch
from tocsin.series.remote.position import Position, PositionFile, Split
from tocsin.series.remote.queue import Parcel, Queue

SPLIT = Split(shards=2, batch=10)
ROOM = 2**30

Open = Callable[..., Queue]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens queues; their files are given back when the test is over, so a test can leave one as a crash does."""
    queues: list[Queue] = []

    def open_(folder: Path, *, max_bytes: int = ROOM, **more: int) -> Queue:
        queues.append(Queue(folder, max_bytes=max_bytes, **more))
        return queues[-1]

    yield open_
    for queue in queues:
        queue.close()


def name(serial: int) -> tuple[str, Labels]:
    return ("m", Labels(series=str(serial)))


def poll(at: int, *serials: int) -> list[Batch]:
    """One sample each, whose value is its time."""
    return [Batch(at, np.array(serials, np.intp), np.full(len(serials), float(at)))]


def times(parcel: Parcel | None) -> list[int]:
    return [entry.at for entry in parcel.entries] if parcel is not None else []


def drained(queue: Queue, most: int = 7) -> list[tuple[str, int]]:
    """All that waits, delivered."""
    got = []
    while (parcel := queue.read(most, SPLIT)) is not None:
        got += [(entry.labels["series"], entry.at) for entry in parcel.entries]
        queue.delivered(parcel)
    return got


def test_what_is_appended_is_read_in_order(opened: Open, tmp_path: Path) -> None:
    """With metric, labels, time and value."""
    queue = opened(tmp_path)
    queue.append(poll(1, 5, 6), name)
    queue.append(poll(2, 5), name)
    parcel = queue.read(100, SPLIT)
    assert parcel is not None
    assert [
        ("m", Labels(series="5"), 1, 1.0),
        ("m", Labels(series="6"), 1, 1.0),
        ("m", Labels(series="5"), 2, 2.0),
    ] == [(entry.name, entry.labels, entry.at, entry.value) for entry in parcel.entries]
    assert queue.pending == 3
    queue.delivered(parcel)
    assert queue.pending == 0
    assert queue.read(100, SPLIT) is None


def test_what_was_not_delivered_is_there_after_a_crash(opened: Open, tmp_path: Path) -> None:
    """A process that dies (nothing is closed here) leaves everything that it took."""
    queue = opened(tmp_path)
    for at in range(1, 6):
        queue.append(poll(at, 1, 2), name)
    first = queue.read(4, SPLIT)
    assert first is not None
    queue.delivered(first)
    again = opened(tmp_path)
    assert again.pending == 6
    assert [(series, at) for at in (3, 4, 5) for series in ("1", "2")] == drained(again)


def test_a_parcel_on_its_way_is_sent_again_as_it_was(opened: Open, tmp_path: Path) -> None:
    """Its end and split are those of before, whatever came since and whatever is configured now."""
    queue = opened(tmp_path)
    for at in range(1, 6):
        queue.append(poll(at, 1, 2), name)
    before = queue.read(4, SPLIT)
    assert before is not None
    again = opened(tmp_path)
    again.append(poll(9, 1), name)
    after = again.read(1000, Split(shards=7, batch=3))
    assert after is not None
    assert (before.entries, before.end, SPLIT, True) == (after.entries, after.end, after.split, after.again)
    again.delivered(after)
    rest = again.read(1000, SPLIT)
    assert rest is not None
    assert not rest.again
    assert times(rest) == [3, 3, 4, 4, 5, 5]


def test_segments_that_are_delivered_are_deleted(opened: Open, tmp_path: Path) -> None:
    """What a receiver has needs no room."""
    queue = opened(tmp_path, segment_bytes=4096)
    for at in range(1, 400):
        queue.append(poll(at, *range(20)), name)
    assert len(list(tmp_path.glob("*.samples"))) > 5
    assert len(drained(queue)) == 399 * 20
    assert len(list(tmp_path.glob("*.samples"))) == 1


def test_when_it_is_over_its_room_the_oldest_goes_and_is_counted(opened: Open, tmp_path: Path) -> None:
    """Bounded on disk; what is kept is whole and in order."""
    queue = opened(tmp_path, max_bytes=40_000)
    for at in range(1, 2001):
        queue.append(poll(at, *range(10)), name)
    assert queue.nbytes <= 40_000
    assert sum(path.stat().st_size for path in tmp_path.glob("*.samples")) <= 40_000
    kept = drained(queue)
    assert len(kept) + queue.dropped["over"] == 20_000
    assert kept[-1] == ("9", 2000)
    assert kept == sorted(kept, key=lambda each: each[1])
    assert queue.pending == 0


def test_a_parcel_whose_segment_was_dropped_meanwhile_does_no_harm(opened: Open, tmp_path: Path) -> None:
    """It is delivered, and what follows is what is left."""
    queue = opened(tmp_path, max_bytes=20_000)
    queue.append(poll(1, *range(10)), name)
    parcel = queue.read(5, SPLIT)
    assert parcel is not None
    for at in range(2, 2000):
        queue.append(poll(at, *range(10)), name)
    queue.delivered(parcel)
    kept = drained(queue)
    assert len(parcel.entries) + len(kept) + queue.dropped["over"] == 19_990
    assert queue.pending == 0


def test_a_big_poll_is_read_in_parts(opened: Open, tmp_path: Path) -> None:
    """Memory is bounded by what is asked for, not by what a collector brings."""
    queue = opened(tmp_path)
    queue.append(poll(1, *range(23_000)), name)
    parcel = queue.read(10, SPLIT)
    assert parcel is not None
    assert len(parcel.entries) <= 5_000
    queue.delivered(parcel)
    assert len(parcel.entries) + len(drained(queue)) == 23_000


def test_a_full_disk_delays_nothing_while_the_receiver_answers(opened: Open, tmp_path: Path) -> None:
    """What the disk does not take is delivered from memory, in order, and later the disk is used again."""
    queue = opened(tmp_path)
    queue.append(poll(1_000, 1), name)

    assert queue._appending is not None
    queue._appending._file = _Full(queue._appending._file)  # type: ignore[assignment]
    queue.append(poll(2_000, 1), name)
    assert "No space left" in queue.problem
    queue.append(poll(3_000, 1), name)
    assert drained(queue) == [("1", 1_000), ("1", 2_000), ("1", 3_000)]
    queue.append(poll(20_000, 1), name)
    assert queue.problem == ""
    assert queue.pending == 1
    assert drained(opened(tmp_path)) == [("1", 20_000)]


class _Full:
    """A file on a full disk: half a write, then none."""

    def __init__(self, file: object) -> None:
        self._file = file
        self._some = True

    def write(self, raw: memoryview) -> int:
        if not self._some:
            raise OSError(28, "No space left on device")
        self._some = False
        return int(self._file.write(raw[: len(raw) // 2]))  # type: ignore[attr-defined]

    def __getattr__(self, attribute: str) -> object:
        return getattr(self._file, attribute)


def test_a_folder_that_can_not_be_made_is_a_problem_and_not_an_error(opened: Open, tmp_path: Path) -> None:
    """Samples then wait in memory, and are delivered."""
    (tmp_path / "file").write_text("in the way")
    queue = opened(tmp_path / "file" / "queue")
    queue.append(poll(1, 1), name)
    assert "mend the disk" in queue.problem
    assert drained(queue) == [("1", 1)]


def test_memory_is_bounded_when_neither_disk_nor_receiver_takes_anything(opened: Open, tmp_path: Path) -> None:
    """The oldest goes, and is counted."""
    (tmp_path / "file").write_text("in the way")
    queue = opened(tmp_path / "file" / "queue", held_bytes=100_000)
    for at in range(1, 40):
        queue.append(poll(at * 1000, *range(at * 1000, at * 1000 + 300)), name)
    assert queue.nbytes <= 100_000
    assert queue.dropped["disk"] > 0
    assert queue.pending + queue.dropped["disk"] == 39 * 300
    assert drained(queue)[-1][1] == 39_000


@settings(max_examples=60, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), torn=st.booleans(), bit=st.integers(0, 7))
def test_damage_costs_what_it_hit_and_the_rest_is_read(*, where: float, torn: bool, bit: int) -> None:
    """A flipped bit or a torn tail: no error, no invented sample, and what came before is whole."""
    with TemporaryDirectory() as name_of_folder:
        folder = Path(name_of_folder)
        with closing(Queue(folder, max_bytes=ROOM)) as queue:
            for at in range(1, 21):
                queue.append(poll(at, 1, 2, 3), name)
        (path,) = folder.glob("*.samples")
        raw = bytearray(path.read_bytes())
        hit = int(where * len(raw))
        if torn:
            del raw[hit:]
        else:
            raw[hit] ^= 1 << bit
        path.write_bytes(raw)
        with closing(Queue(folder, max_bytes=ROOM)) as queue:
            got = drained(queue)
            assert queue.pending == 0
    whole = [(str(series), at) for at in range(1, 21) for series in (1, 2, 3)]
    assert set(got) <= set(whole)
    assert got == sorted(got, key=whole.index)
    # The first frame is the longest: it holds the names. So this many frames lie before the damage, or more.
    before = max(0, hit * 20 // len(raw) - 3) * 3 if not torn else 0
    assert whole[:before] == got[:before]


def test_a_torn_position_is_the_one_before(tmp_path: Path) -> None:
    """So the worst is that something is sent again."""
    with closing(PositionFile(tmp_path / "position")) as file:
        file.write(Position(1, 100, 200, SPLIT))
        file.write(Position(1, 200, 300, SPLIT))
    with (tmp_path / "position").open("r+b") as raw:
        os.pwrite(raw.fileno(), b"\xff" * 10, 8)  # the even slot, which was written last
    with closing(PositionFile(tmp_path / "position")) as file:
        assert Position(1, 100, 200, SPLIT) == file.position
