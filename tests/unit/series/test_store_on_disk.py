"""What a folder keeps: over restarts, crashes, damage and full disks."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.errors import StateError
from tocsin.model import STALE, Labels, Sample
from tocsin.promql import Matrix, Round, compile_expr
from tocsin.series import Store, journal

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
Points = dict[Labels, list[tuple[int, float]]]


def poll(second: int, series: int = 3) -> list[Sample]:
    """Gauges `m{i}` and one counter, as a collector would bring them."""
    at = EPOCH + timedelta(seconds=second)
    samples = [Sample(name="m", labels=Labels(i=str(i)), value=second * 1.5 + i, at=at) for i in range(series)]
    return [*samples, Sample(name="total", value=float(second), at=at)]


def points(store: Store, expression: str = '{__name__=~".+"}[2d]') -> Points:
    """Every sample of the store."""
    at = store.newest
    if at is None:
        return {}
    result = Round(store, at).evaluate(compile_expr(expression))
    assert isinstance(result, Matrix)
    return {line.labels: list(zip(line.times.tolist(), line.values.tolist(), strict=True)) for line in result}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "series"


OPENED: list[Store] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def opened(folder: Path | None, **options: float) -> Store:
    """A store that is closed with the test."""
    store = Store.open(folder, **options)  # type: ignore[arg-type]
    OPENED.append(store)
    return store


def filled(folder: Path | None, polls: range, **options: float) -> Store:
    store = opened(folder, **options)
    for second in polls:
        store.append(poll(second))
        store.flush()
    return store


def test_a_restart_brings_everything_back(folder: Path) -> None:
    """Recent and sealed samples, markers and times, to the bit."""
    store = filled(folder, range(0, 3000, 7), raw=600)
    store.append([Sample(name="m", labels=Labels(i="0"), value=STALE, at=EPOCH + timedelta(seconds=3001))])
    store.flush()
    before = points(store)
    assert len(list((folder / "chunks").iterdir())) > 0
    store.close()
    again = opened(folder, raw=600)
    assert (points(again), again.recovery.damage) == (before, ())
    again.append(poll(3010))
    assert points(again)[Labels(__name__="total")][-1][1] == 3010.0


def test_sealed_samples_answer_as_raw_ones_do() -> None:
    """Compression loses nothing, and long windows see both sides of the seam."""
    sealed, raw = filled(None, range(0, 7000, 10), raw=500), filled(None, range(0, 7000, 10))
    assert sealed.sample_count == raw.sample_count
    assert sealed.nbytes < raw.nbytes / 2
    for expression in ("rate(total[1h])", "sum_over_time(m[90m])", "m offset 40m", "max_over_time(m[30m] offset 30m)"):
        answers = [
            dict(Round(store, EPOCH + timedelta(seconds=6990)).evaluate(compile_expr(expression)))  # type: ignore[arg-type]
            for store in (sealed, raw)
        ]
        assert answers[0] == answers[1]
        assert answers[0]


def test_two_processes_do_not_share_a_folder(folder: Path) -> None:
    """The second is told which folder and what to do."""
    store = filled(folder, range(1))
    with pytest.raises(StateError, match="in use by another process"):
        Store.open(folder)
    store.close()
    Store.open(folder).close()


def test_the_oldest_samples_go_when_there_are_too_many_bytes() -> None:
    """Retention by bytes drops whole chunks, oldest first."""
    store = filled(None, range(0, 20_000, 10), raw=500, max_bytes=4000)
    kept = points(store)[Labels(__name__="total")]
    assert kept[-1][1] == 19_990.0
    assert 19_990 - 10_000 < kept[0][1] < 19_990 - 500


def test_files_of_forgotten_samples_are_deleted(folder: Path) -> None:
    """The folder does not grow beyond the retention."""
    store = filled(folder, range(0, 20_000, 20), raw=300, retention=2000)
    assert len(list((folder / "chunks").iterdir())) <= 9
    assert len(list((folder / "journal").iterdir())) == 1
    assert points(store)[Labels(__name__="total")][0][1] >= 19_980 - 2000 - 2 * 300 - 20


# Crashes -------------------------------------------------------------------------------------------------------------

CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.unit.series.test_store_on_disk import poll
from tocsin.series import Store
store = Store.open(Path({folder!r}), raw=40)
second = {start}
while True:
    store.append(poll(second))
    store.flush()
    print(second, flush=True)
    second += 1
"""


def test_sigkill_loses_at_most_the_poll_in_flight(folder: Path) -> None:
    """Killed at random moments, checkpoints included: what was flushed is there, and nothing is damaged but a tail."""
    random_ = random.Random(7)
    root = str(Path(__file__).parents[3])
    last = -1
    for _ in range(6):
        code = CHILD.format(root=root, folder=str(folder), start=last + 1)
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for _ in range(random_.randrange(5, 120)):
            last = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().split()
        child.wait()
        child.stdout.close()
        last = int(rest[-1]) if rest else last
        store = Store.open(folder, raw=40)
        seen = [int(value) for _, value in points(store)[Labels(__name__="total")]]
        assert seen[: last + 1] == list(range(last + 1))
        assert len(seen) <= last + 2
        last = seen[-1]
        store.close()


Recorded = tuple[bytes, Points, list[int]]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A journal segment of 40 polls, the samples in it, and how long it was after each poll."""
    folder = tmp_path_factory.mktemp("recorded")
    store = Store.open(folder)
    lengths = []
    for second in range(40):
        store.append(poll(second))
        store.flush()
        (path,) = (folder / "journal").iterdir()
        lengths.append(path.stat().st_size)
    whole = points(store)
    store.close()
    return path.read_bytes(), whole, lengths


def reopened(folder: Path, raw: bytes) -> Store:
    (folder / "journal").mkdir(parents=True)
    (folder / "journal" / "00000001.journal").write_bytes(raw)
    return Store.open(folder)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_a_torn_journal_keeps_all_polls_before_the_tear(
    recorded: Recorded, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Cut anywhere: a prefix of the samples, and the cut is reported unless it lies between two frames."""
    raw, whole, lengths = recorded
    cut = data.draw(st.integers(0, len(raw)))
    store = reopened(tmp_path_factory.mktemp("torn"), raw[:cut])
    for labels, found in points(store).items():
        assert found == whole[labels][: len(found)]
    polls = sum(length <= cut for length in lengths)
    # The first poll is in the snapshots that the segment begins with, a frame per metric.
    assert store.sample_count == 4 * polls if polls else store.sample_count < 4
    assert bool(store.recovery.damage) == (cut not in (0, *lengths)) or not polls
    store.close()


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_a_flipped_bit_costs_little_and_invents_nothing(
    recorded: Recorded, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Every sample that is read was written; the damage is reported; later polls are there."""
    raw, whole, _ = recorded
    bit = data.draw(st.integers(0, 8 * len(raw) - 1))
    damaged = bytearray(raw)
    damaged[bit // 8] ^= 1 << bit % 8
    store = reopened(tmp_path_factory.mktemp("flipped"), bytes(damaged))
    assert store.recovery.damage
    for labels, found in points(store).items():
        assert set(found) <= set(whole[labels])
    store.close()


class _Agreeing(int):
    """A checksum that agrees with every other."""

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = int.__hash__


def test_nothing_but_the_checksum_tells_a_flipped_bit_from_a_sample(
    recorded: Recorded, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proof that the test above can fail: where checksums are not looked at, a sample is invented, and nothing said."""
    raw, whole, _ = recorded
    damaged = bytearray(raw)
    damaged[-2] ^= 1
    monkeypatch.setattr(journal, "crc32", lambda data: _Agreeing())
    store = reopened(folder, bytes(damaged))
    invented = {labels for labels, found in points(store).items() if not set(found) <= set(whole[labels])}
    assert (store.recovery.damage, len(invented)) == ((), 1)
    store.close()


def test_a_damaged_chunk_is_reported_and_the_rest_is_kept(folder: Path) -> None:
    """One metric's hour is lost, not the store."""
    filled(folder, range(0, 3000, 7), raw=600).close()
    path = min((folder / "chunks").iterdir())
    raw = bytearray(path.read_bytes())
    raw[-10] ^= 255
    path.write_bytes(raw)
    store = opened(folder, raw=600)
    assert len(store.recovery.damage) == 1
    assert path.name in store.recovery.damage[0]
    assert points(store)[Labels(__name__="total")][-1][1] == 2996.0
    store.close()


# A full disk ---------------------------------------------------------------------------------------------------------

FULL = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.unit.series.test_store_on_disk import points, poll
from tocsin.series import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store.open(Path({folder!r}))
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
for second in range(300):
    if second == 20:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    if second == 200:
        assert "can't be written" in store.problem, store.problem
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    store.append(poll(second))
    store.flush()
assert store.problem == "", store.problem
assert store.sample_count == 1200
store.close()
again = Store.open(Path({folder!r}))
assert again.sample_count == 1200, again.recovery
assert again.recovery.damage == ()
print("fine")
"""


def test_a_full_disk_stops_no_append_and_is_made_good(folder: Path) -> None:
    """While files can't grow the store goes on and says so; when they can again nothing is missing."""
    code = FULL.format(root=str(Path(__file__).parents[3]), folder=str(folder))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("fine", "")
