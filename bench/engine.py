"""The engine beside Debian's Prometheus, with the same samples, in the same run.

    python bench/engine.py [--series 10000 100000] [--rounds 3]

A fleet of instances with 96 series each, an hour at 15 s. Asked: 100 alert expressions at one instant, one by one (no
shared parts) and as one round (shared parts once), and range queries by class. Prometheus' figure is its own
`evalTotalTime`, so neither HTTP nor JSON counts; best of a few rounds for both. Also RSS, and bytes per sample of a
day that is sealed. A missing Prometheus is told, and our figures are printed alone.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.conformance.live_prometheus import LivePrometheus
from tocsin.model import Labels, utc
from tocsin.promql import Plan, Round, compile_expr, evaluate_range
from tocsin.series import Store
from tocsin.testing.peers import PeerMissing

ROWS: Final = 240
STEP_MS: Final = 15_000
_LE: Final = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"]
_MOUNTS: Final = ["/", "/boot", "/var", "/data"]
_DEVICES: Final = ["eth0", "eth1", "lo"]


@dataclass(frozen=True)
class Metric:
    """A metric of the fleet: its own labels, and how its values move."""

    name: str
    kind: str
    labels: dict[str, list[str]]

    def members(self) -> list[dict[str, str]]:
        names = list(self.labels)
        return [dict(zip(names, values, strict=True)) for values in itertools.product(*self.labels.values())]


FLEET: Final = [
    Metric("up", "up", {}),
    Metric(
        "node_cpu_seconds_total",
        "counter",
        {"cpu": list("0123"), "mode": ["idle", "user", "system", "iowait", "irq", "softirq", "steal", "nice"]},
    ),
    Metric("node_filesystem_avail_bytes", "bytes", {"mountpoint": _MOUNTS}),
    Metric("node_filesystem_size_bytes", "constant", {"mountpoint": _MOUNTS}),
    *(Metric(f"node_load{minutes}", "gauge", {}) for minutes in (1, 5, 15)),
    Metric("node_memory_MemAvailable_bytes", "bytes", {}),
    Metric("node_memory_MemTotal_bytes", "constant", {}),
    Metric("process_resident_memory_bytes", "bytes", {}),
    Metric("process_open_fds", "gauge", {}),
    Metric("process_max_fds", "constant", {}),
    Metric("node_network_receive_bytes_total", "counter", {"device": _DEVICES}),
    Metric("node_network_receive_errs_total", "rare", {"device": _DEVICES}),
    Metric("http_requests_total", "counter", {"method": ["GET", "POST"], "code": ["200", "404", "500", "503"]}),
    Metric("http_request_duration_seconds_bucket", "buckets", {"method": ["GET", "POST"], "le": _LE}),
    Metric("queue_depth", "gauge", {"queue": [f"q{number}" for number in range(9)]}),
]
PER_INSTANCE: Final = sum(len(metric.members()) for metric in FLEET)

TEMPLATES: Final[dict[str, list[str]]] = {
    "selector": [f"{name} > 1e18" for name in ("up", "node_load1", "queue_depth", "process_open_fds", "node_load15")]
    + [
        "up == 0",
        'queue_depth{queue=~"q[0-4]"} > 500',
        "absent(up{job='none'})",
        "process_max_fds == 0",
        "count by (job) (up == 0) > 3",
    ],
    "ratio": [f"node_filesystem_avail_bytes / node_filesystem_size_bytes < {share}" for share in (0.05, 0.1, 0.2)]
    + [f"node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes < {share}" for share in (0.05, 0.1)]
    + [f"process_open_fds / process_max_fds > {share}" for share in (0.8, 0.9)]
    + ["node_load5 > on (instance) group_left () (2 * count by (instance) (node_cpu_seconds_total{mode='idle'}))"],
    "rate": [
        f"{function}({name}[{window}]) > {bound}"
        for name, bound in (("node_network_receive_errs_total", 1), ("http_requests_total", 1e6))
        for function in ("rate", "increase", "irate")
        for window in ("5m", "15m")
    ],
    "rate and sum": [
        f"sum by ({by}) (rate({name}[{window}])) > 1e12"
        for name in ("http_requests_total", "node_network_receive_bytes_total", "node_cpu_seconds_total")
        for by in ("job", "instance", "cluster, job")
        for window in ("5m", "30m")
    ],
    "error ratio": [
        f"sum by ({by}) (rate(http_requests_total{{code=~'5..'}}[{window}])) / "
        f"sum by ({by}) (rate(http_requests_total[{window}])) > {share}"
        for by in ("job", "instance")
        for window in ("5m", "1h")
        for share in (0.9, 0.95, 0.99)
    ],
    "histogram": [
        f"histogram_quantile({q}, sum by ({by}, le) (rate(http_request_duration_seconds_bucket[5m]))) > {bound}"
        for q in (0.5, 0.9, 0.99)
        for by in ("job", "instance")
        for bound in (11, 12)
    ],
    "over time": [
        f"{function}_over_time({name}[{window}]) > 1e18"
        for function in ("avg", "max", "sum", "stddev")
        for name, window in (("queue_depth", "10m"), ("node_load1", "30m"), ("process_resident_memory_bytes", "15m"))
    ],
    "trend": [
        "predict_linear(node_filesystem_avail_bytes[1h], 4 * 3600) < 0",
        "deriv(queue_depth[10m]) > 1e9",
        "delta(process_resident_memory_bytes[30m]) > 1e12",
        "changes(process_open_fds[15m]) > 1e4",
        "resets(http_requests_total[30m]) > 5",
        "predict_linear(node_memory_MemAvailable_bytes[30m], 3600) < 0",
    ],
    "pick": [
        "topk(5, rate(http_requests_total[5m]))",
        "bottomk by (job) (3, node_load1)",
        "quantile by (job) (0.9, node_load5) > 1e9",
        "count_values('depth', queue_depth{queue='q1'}) > 1e9",
        "max by (job) (node_load15) unless on (job) max by (job) (up == 0)",
        "stddev by (cluster) (node_load1) > 1e9",
        "avg_over_time(rate(http_requests_total{code='500'}[5m])[30m:1m]) > 1e9",
        "label_replace(up == 0, 'host', '$1', 'instance', '(.*):.*')",
        "sum by (job) (up) < bool 3",
        "min_over_time(up[10m]) == 0 and on (instance) node_load1 > 1e9",
    ],
}

RANGES: Final = {
    "one series": "up{instance='10.0.0.1:9100'}",
    "one rate": "rate(http_requests_total{instance='10.0.0.1:9100'}[5m])",
    "plain": "node_load1",
    "sum of rates": "sum by (job) (rate(http_requests_total[5m]))",
    "quantile": "histogram_quantile(0.9, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))",
    "average": "avg_over_time(queue_depth[10m])",
    "maximum": "max_over_time(queue_depth{queue='q1'}[30m])",
    "ratio": "node_filesystem_avail_bytes / node_filesystem_size_bytes",
}

Block = tuple[str, list[dict[str, str]], NDArray[np.int64], NDArray[np.float64]]


def moved(kind: str, count: int, random: np.random.Generator, rows: int = ROWS) -> NDArray[np.float64]:
    """[rows, count] values of a kind."""
    match kind:
        case "up":
            return (random.random((rows, count)) > 0.0005).astype(np.float64)
        case "counter":
            return np.round(1e5 + np.cumsum(random.random((rows, count)) * 300, axis=0), 2)
        case "rare":
            return np.cumsum(random.random((rows, count)) < 0.02, axis=0).astype(np.float64)
        case "bytes":
            return np.floor(8e9 + np.cumsum(random.normal(0, 2e6, (rows, count)), axis=0) / 4096) * 4096
        case "constant":
            return np.broadcast_to(np.floor(random.random(count) * 1e10 + 1e10), (rows, count)).copy()
        case "buckets":
            rising = np.cumsum(np.floor(random.random((rows, count)) * 20), axis=0)
            return rising.reshape(rows, -1, len(_LE)).cumsum(axis=2).reshape(rows, count)
        case _:
            return np.floor(np.abs(50 + np.cumsum(random.normal(0, 3, (rows, count)), axis=0)))


def fleet(instances: int, until: int) -> Iterator[Block]:
    """A block per metric and instance; instances are scraped at their own offsets."""
    random = np.random.default_rng(1)
    for metric in FLEET:
        own = metric.members()
        for instance in range(instances):
            where = {
                "instance": f"10.0.{instance // 250}.{instance % 250}:9100",
                "job": ("node", "api", "db", "cache")[instance % 4],
                "cluster": ("eu", "us")[instance % 2],
            }
            times = until - STEP_MS * np.arange(ROWS)[::-1] - instance * 137 % STEP_MS
            yield metric.name, [{**where, **each} for each in own], times, moved(metric.kind, len(own), random)


def best(rounds: int, run: Callable[[], float]) -> float:
    """The least of some measurements, in milliseconds."""
    return min(run() for _ in range(rounds)) * 1000


def timed(run: Callable[[], object]) -> float:
    """Seconds that it took."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def memory() -> int:
    """Bytes of resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def line(name: str, ours: float, peer: float | None) -> str:
    """A row of the table."""
    beside = f"{peer:12.1f} {peer / ours:9.1f}×" if peer is not None else ""
    return f"  {name:26} {ours:12.1f} {beside}"


def measured(series: int, rounds: int) -> None:
    """One size of fleet."""
    instances = max(1, series // PER_INSTANCE)
    until = int(time.time() * 1000) // STEP_MS * STEP_MS
    before = memory()
    store = Store(retention=1e9)
    for name, labels, times, values in fleet(instances, until):
        store.load(name, [Labels(each) for each in labels], times.tolist(), values)
    held = memory() - before
    peer: LivePrometheus | None
    try:
        peer = LivePrometheus().__enter__()
    except PeerMissing as missing:
        peer = None
        print(f"no Prometheus to compare with: {missing}")
    try:
        if peer is not None:
            idle = peer.rss
            for name, labels, times, values in fleet(instances, until):
                peer.write([({"__name__": name, **each}, times, values[:, i]) for i, each in enumerate(labels)])
            theirs = peer.rss - idle
        print(f"\n{store.series_count} series, {store.sample_count} samples; milliseconds, best of {rounds}")
        print(f"  {'':26} {'tocsin':>12} {'prometheus':>12} {'ratio':>10}")
        _instants(store, peer, utc(until / 1000).timestamp(), rounds)
        _ranges(store, peer, until / 1000, rounds)
        beside = f"; Prometheus {theirs / store.series_count:.0f}" if peer is not None else ""
        print(f"  bytes of RSS a series: {held / store.series_count:.0f}{beside}")
    finally:
        if peer is not None:
            peer.__exit__()


def _instants(store: Store, peer: LivePrometheus | None, at: float, rounds: int) -> None:
    plans = {kind: [compile_expr(text) for text in texts] for kind, texts in TEMPLATES.items()}
    total: dict[str, float] = defaultdict(float)
    for kind, each in plans.items():
        ours = sum(best(rounds, _instant(store, plan, at)) for plan in each)
        theirs = None
        if peer is not None:
            theirs = sum(best(min(rounds, 2), _instant_of(peer, plan.text, at)) for plan in each)
            total["theirs"] += theirs
        total["ours"] += ours
        print(line(f"{kind} ({len(each)})", ours, theirs))
    everything = [plan for each in plans.values() for plan in each]

    def whole() -> float:
        def run() -> None:
            round_ = Round(store, utc(at))
            for plan in everything:
                round_.evaluate(plan)

        return timed(run)

    print(line(f"all {len(everything)}, nothing shared", total["ours"], total.get("theirs")))
    # One long measurement is seldom left alone on a busy machine; the sum of a hundred short ones often is.
    print(line(f"all {len(everything)}, one round", best(5 * rounds, whole), total.get("theirs")))


def _instant(store: Store, plan: Plan, at: float) -> Callable[[], float]:
    return lambda: timed(lambda: Round(store, utc(at)).evaluate(plan))


def _instant_of(peer: LivePrometheus, text: str, at: float) -> Callable[[], float]:
    return lambda: float(peer.query(text, at, stats="all")["stats"]["timings"]["evalTotalTime"])


def _range(store: Store, plan: Plan, start: float, end: float, step: float) -> Callable[[], float]:
    return lambda: timed(lambda: evaluate_range(plan, store, utc(start), utc(end), step))


def _ranges(store: Store, peer: LivePrometheus | None, until: float, rounds: int) -> None:
    start, step = until - 3000, 15.0
    for name, text in RANGES.items():
        plan = compile_expr(text)
        ours = best(rounds + 2, _range(store, plan, start, until, step))
        theirs = None
        if peer is not None:
            answers = [peer.query_range(text, start, until, step, stats="all") for _ in range(min(rounds, 2))]
            theirs = 1000 * min(float(answer["stats"]["timings"]["evalTotalTime"]) for answer in answers)
        print(line(f"range of 200: {name}", ours, theirs))


def sealed() -> None:
    """A day of a small fleet, sealed: bytes per sample beyond the recent hour."""
    random = np.random.default_rng(2)
    store = Store(retention=1e9)
    rows = 86_400_000 // STEP_MS
    times = [1_767_225_600_000 + STEP_MS * row for row in range(rows)]
    for metric in FLEET:
        own = metric.members() * 8
        labels = [Labels(instance=str(i), **each) for i, each in enumerate(own)]
        store.load(metric.name, labels, times, moved(metric.kind, len(own), random, rows))
    samples = store.sample_count
    took = timed(store.checkpoint)
    chunks = [chunk for table in store._tables.values() for chunk in table.chunks]
    old, size = sum(chunk.samples for chunk in chunks), sum(chunk.nbytes for chunk in chunks)
    print(f"\na day of {store.series_count} series: {size / old:.2f} bytes a sealed sample,", end=" ")
    print(f"sealed at {samples / took / 1e6:.1f} M samples/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for series in options.series:
        measured(series, options.rounds)
    sealed()


if __name__ == "__main__":
    main()
