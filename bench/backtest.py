"""How long a day takes to replay: `tocsin rules backtest` on a synthetic store.

    python bench/backtest.py [--series 2000] [--hours 24] [--rules 100] [--check]

A folder is filled with samples at 15 s, an hour sealed at a time as the daemon does. Rules of the usual kinds
(thresholds, rates, sums, recorded series and alerts on them) are replayed over it and their incidents told on a virtual
clock. Printed: seconds for reading the folder, for the replay (on the wall and of the processor: beside other work the
two part), and series-hours per second. With --check the same is
done step by step, for the ratio, and the transitions must agree.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tocsin.incidents import Destination, Plan
from tocsin.incidents.routes import Route, Router
from tocsin.model import Labels
from tocsin.rules import Group, load_text
from tocsin.rules.backtest import Span, backtest
from tocsin.rules.strides import Strides
from tocsin.series import Layered, Store, read_store
from tocsin.series.layered import HEARTBEAT, extent

START_MS: Final = 1_767_225_600_000
STEP_MS: Final = 15_000
METRICS: Final = 50


def filled(folder: Path, series: int, hours: int) -> None:
    """Counters and gauges that now and then cross a threshold."""
    store = Store.open(folder, retention=1e9)
    noise = np.random.default_rng(5)
    rows = 3_600_000 // STEP_MS
    each = max(1, series // METRICS)
    level = np.full((METRICS, each), 1e6)
    for hour in range(hours):
        times = START_MS + STEP_MS * np.arange(hour * rows, (hour + 1) * rows, dtype=np.int64)
        for metric in range(METRICS):
            if metric % 2:
                values = np.where(noise.random((rows, each)) < 0.0005, 95.0, noise.integers(0, 90, (rows, each)))
            else:
                values = level[metric] + np.cumsum(noise.integers(0, 300, (rows, each)), axis=0)
                level[metric] = values[-1]
            name = f"gauge_{metric}" if metric % 2 else f"total_{metric}"
            labels = [Labels(instance=f"i{n}", service=f"s{n % 10}") for n in range(each)]
            _append(store, name, labels, times, values)
        _append(store, HEARTBEAT, [Labels(job="bench")], times, np.ones((rows, 1)))
        store.checkpoint()
    store.close()


def _append(store: Store, name: str, labels: list[Labels], times: np.ndarray, values: np.ndarray) -> None:
    if name not in store._tables:
        store.load(name, labels, times.tolist(), values)
        return
    store._tables[name].write_rows(times, np.arange(len(labels)), values)
    store._newest = int(times[-1])


def rules(count: int) -> tuple[Group, ...]:
    """A quarter each: thresholds, rates by service, recorded sums, alerts on what is recorded."""
    lines = []
    for number in range(count // 4):
        gauge, total = 2 * (number % 25) + 1, 2 * (number % 25)
        severity = f"labels: {{severity: P{number % 4}}}"
        lines += [
            f"{{alert: High{number}, expr: 'gauge_{gauge} > 93', {severity}}}",
            f"{{alert: Rate{number}, expr: 'sum by (service) (rate(total_{total}[5m])) > 1e6', {severity}}}",
            f"{{record: 'service:total_{number}:rate5m', expr: 'sum by (service) (rate(total_{total}[5m]))'}}",
            f"{{alert: Recorded{number}, expr: 'service:total_{number}:rate5m < 1', for: 1m, {severity}}}",
        ]
    return load_text(f"groups:\n  - name: bench\n    rules: [{', '.join(lines)}]\n")


def plan() -> Plan:
    """Everything to one destination, by service."""
    route = Route(notify=("log",), group_by=("service",))
    return Plan(router=Router([route]), destinations={"log": Destination(name="log", edits=True)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=2_000)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--rules", type=int, default=100)
    parser.add_argument("--check", action="store_true", help="also step by step: slow")
    options = parser.parse_args()
    groups = rules(options.rules)
    with tempfile.TemporaryDirectory() as folder:
        filled(Path(folder), options.series, options.hours)
        began = time.perf_counter()
        store = read_store(Path(folder))
        read = time.perf_counter() - began
        known = extent(store)
        assert known is not None
        print(f"{store.series_count} series × {options.hours} h at 15 s, {len(groups[0].rules)} rules")
        print(f"read:   {read:6.2f} s ({store.sample_count:,} samples)")
        span = Span(start=known[0], end=known[1], step=STEP_MS / 1000)
        hidden = {name for group in groups for name in group.yields}
        began, busy = time.perf_counter(), time.process_time()
        account = backtest(groups, Layered(store, hidden), plan(), span)
        took, busy = time.perf_counter() - began, time.process_time() - busy
        per_second = store.series_count * options.hours / took
        print(f"replay: {took:6.2f} s, {busy:.2f} of them CPU, for {account.evaluations} steps", end=" ")
        print(f"({per_second:,.0f} series-hours per second)")
        print(f"        {len(account.messages)} messages, {len(account.pages)} pages")
        if options.check:
            check(groups, store, known[0], known[1], hidden)


def check(groups: tuple[Group, ...], store: Store, start: datetime, end: datetime, hidden: set[str]) -> None:
    """The same step by step."""
    took, found = {}, {}
    for in_strides in (True, False):
        began = time.perf_counter()
        strides = Strides(groups, Layered(store, hidden), STEP_MS / 1000, in_strides=in_strides)
        changes = [change for stretch in strides.over(start, end) for change in stretch.transitions]
        took[in_strides] = time.perf_counter() - began
        found[in_strides] = sorted((change.at, change.alert.id, change.alert.state) for change in changes)
    print(
        f"in strides {took[True]:.2f} s, step by step {took[False]:.2f} s: {took[False] / took[True]:.1f} times sooner"
    )
    if found[True] != found[False]:
        sys.exit("the transitions differ")


if __name__ == "__main__":
    main()
