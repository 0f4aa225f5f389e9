"""What a killed store keeps, and how soon it is back.

    python bench/recovery.py [--series 10000] [--hours 24] [--kills 20]

A folder is filled with a day of samples at 15 s. Then a child opens it, appends polls as fast as it can and says after
each flush how far it is; it is killed (SIGKILL) at a random moment, and the next child opens what is left. Printed:
samples lost beyond the poll in flight (0 is wanted), the time from start to the first evaluation, bytes on the disk.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tocsin.model import Labels, Sample, utc
from tocsin.promql import Round, Vector, compile_expr
from tocsin.series import Store

START_MS: Final = 1_767_225_600_000
STEP_MS: Final = 15_000
METRICS: Final = 50
PLAN: Final = compile_expr("sum by (metric) (rate({__name__=~'total_.*'}[5m]))")
COUNT: Final = compile_expr("count_over_time(poll[2d])")


def filled(folder: Path, series: int, hours: int) -> int:
    """A store with a day of samples, an hour at a time, as the daemon would seal them; the last step."""
    store = Store.open(folder, retention=2 * 86_400)
    noise = np.random.default_rng(3)
    rows = 3_600_000 // STEP_MS
    each = series // METRICS
    level = np.full((METRICS, each), 1e6)
    for hour in range(hours):
        times = START_MS + STEP_MS * np.arange(hour * rows, (hour + 1) * rows, dtype=np.int64)
        for metric in range(METRICS):
            values = level[metric] + np.cumsum(noise.integers(0, 300, (rows, each)), axis=0)
            level[metric] = values[-1]
            if hour == 0:
                labels = [Labels(instance=f"i{number}", metric=str(metric)) for number in range(each)]
                store.load(f"total_{metric}", labels, times.tolist(), values)
            else:
                table = store._tables[f"total_{metric}"]
                table.write_rows(times, np.arange(each), values)
                store._newest = int(times[-1])
        store.append([Sample(name="poll", value=float(hour), at=utc(times[-1] / 1000 + 0.001))])
        if hour:
            store.checkpoint()
    store.close()
    return hours * rows


def polls(series: int, first: int) -> Iterator[tuple[int, list[Sample]]]:
    """The polls of a child, from step `first`."""
    each = series // METRICS
    labels = [
        [Labels(instance=f"i{number}", metric=str(metric)) for number in range(each)] for metric in range(METRICS)
    ]
    step = first
    while True:
        at = utc((START_MS + STEP_MS * step) / 1000)
        samples = [
            Sample(name=f"total_{metric}", labels=own, value=2e6 + step, at=at)
            for metric in range(METRICS)
            for own in labels[metric]
        ]
        yield step, [*samples, Sample(name="poll", value=float(step), at=at)]
        step += 1


def child(folder: Path, series: int, first: int) -> None:
    """Opens, evaluates, says so; then appends until it is killed."""
    began = time.perf_counter()
    store = Store.open(folder, retention=2 * 86_400)
    newest = store.newest
    assert newest is not None
    result = Round(store, newest).evaluate(PLAN)
    assert isinstance(result, Vector)
    took = time.perf_counter() - began
    counted = Round(store, newest).evaluate(COUNT)
    assert isinstance(counted, Vector)
    damage = sum("poll that was being written" not in each for each in store.recovery.damage)
    print(took, len(result), store.sample_count, int(counted.values[0]), damage, flush=True)
    for step, samples in polls(series, first):
        store.append(samples)
        store.flush()
        print(step, flush=True)


def killed(folder: Path, series: int, first: int, wait: float) -> tuple[list[str], int]:
    """A child's first line, and the last step that it had flushed when it was killed."""
    process = subprocess.Popen(
        [sys.executable, __file__, "--child", str(folder), str(series), str(first)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    opened = process.stdout.readline().split()
    time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    steps = process.stdout.read().split("\n")
    process.wait()
    process.stdout.close()
    whole = [int(step) for step in steps[:-1] if step]
    return opened, whole[-1] if whole else first - 1


def measured(series: int, hours: int, kills: int) -> None:
    """Fill, kill, count."""
    choose = random.Random(5)
    with tempfile.TemporaryDirectory(prefix="recovery-") as name:
        folder = Path(name)
        step = filled(folder, series, hours)
        held = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(
            f"{series} series x {hours} h: {held / 2**20:.0f} MiB on disk, {held / (series * step):.2f} bytes a sample"
        )
        polls_held, lost, damaged, took = hours, 0, 0, []
        for _ in range(kills):
            opened, last = killed(folder, series, step, choose.uniform(0.0, 2.0))
            took.append(float(opened[0]))
            lost += max(0, polls_held - int(opened[3]))
            damaged += int(opened[4])
            polls_held = int(opened[3]) + last - step + 1
            step = last + 2  # the poll in flight may be there or not
        opened, _ = killed(folder, series, step, 0.0)
        lost += max(0, polls_held - int(opened[3]))
        print(f"{kills} kills: {lost} polls lost beyond the one in flight, {damaged} damaged places")
        print(f"start to first evaluation: median {median(took):.2f} s, worst {max(took):.2f} s (aim: 3 s)")


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args()
    measured(options.series, options.hours, options.kills)


if __name__ == "__main__":
    main()
