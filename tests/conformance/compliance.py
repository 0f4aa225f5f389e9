"""The PromQL compliance queries against a live Prometheus with the same samples: python -m tests.conformance.compliance

Debian's Prometheus and the store are given the same synthetic series (those of the compliance suite's demo service);
each query of ../shared/corpus/promql_compliance, expanded, is asked of both over the same steps. Steps never fall on a
sample's time, so that the left-open windows of Prometheus 3 and the closed ones of Debian's 2.42 see the same samples.
Ends in `N equal, M different, K explained`; exit 1 when something differs unexplained.
"""

from __future__ import annotations

import argparse
import itertools
import math
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from tests.conformance.live_prometheus import LivePrometheus, Refusal, Series
from tocsin.errors import EvaluationError, PromQLError
from tocsin.model import Labels, utc
from tocsin.promql import compile_expr, evaluate_range
from tocsin.series import Store

CORPUS: Final = Path(__file__).parents[3] / "shared" / "corpus" / "promql_compliance" / "promql-test-queries.yml"
_ARITHMETIC: Final = ["+", "-", "*", "/", "%", "^"]
_COMPARISONS: Final = ["==", "!=", "<", ">", "<=", ">="]
VARIANTS: Final[dict[str, list[str]]] = {
    "range": ["1s", "15s", "1m", "5m", "15m", "1h"],
    "offset": ["1m", "5m", "10m"],
    "simpleAggrOp": ["sum", "avg", "max", "min", "count", "stddev", "stdvar"],
    "simpleTimeAggrOp": ["sum", "avg", "max", "min", "count", "stddev", "stdvar", "absent", "last", "present"],
    "topBottomOp": ["topk", "bottomk"],
    "quantile": ["-0.5", "0.1", "0.5", "0.75", "0.95", "0.90", "0.99", "1", "1.5"],
    "arithBinOp": _ARITHMETIC,
    "compBinOp": _COMPARISONS,
    "binOp": _ARITHMETIC + _COMPARISONS,
    "simpleMathFunc": ["abs", "ceil", "floor", "exp", "sqrt", "ln", "log2", "log10", "round"],
    "extrapolatedRateFunc": ["delta", "rate", "increase"],
    "clampFunc": ["clamp_min", "clamp_max"],
    "instantRateFunc": ["idelta", "irate"],
    "dateFunc": [
        "day_of_month", "day_of_week", "days_in_month", "hour", "minute", "month", "year",
    ],
}  # fmt: skip

EXPLAINED: Final = {
    r'"~invalid"': "any UTF-8 label name is valid in Prometheus 3",
}
"""Patterns of queries on which Prometheus 3 differs from Debian's 2.42, and why."""

STEP_S: Final = 5
SPAN_S: Final = 5400


@dataclass(frozen=True)
class Query:
    """An expanded query."""

    text: str
    fails: bool


def queries(path: Path) -> Iterator[Query]:
    """All variants of every query."""
    for case in yaml.safe_load(path.read_text())["test_cases"]:
        names = case.get("variant_args", [])
        for values in itertools.product(*(VARIANTS[name] for name in names)):
            text = str(case["query"])
            for name, value in zip(names, values, strict=True):
                text = re.sub(r"\{\{\s*\." + name + r"\s*\}\}", lambda _, value=value: value, text)
            yield Query(text, bool(case.get("should_fail")))


def demo(until_ms: int) -> list[Series]:
    """Series like those of the demo service: gauges, counters with resets, histograms, an intermittent one."""
    random = np.random.default_rng(11)
    count = SPAN_S // STEP_S
    found: list[Series] = []
    for instance in range(3):
        where = {"instance": f"demo.promlabs.com:{10000 + instance}", "job": "demo"}
        times = until_ms - 1000 * STEP_S * np.arange(count)[::-1] + 137 * instance

        def gauge(name: str, values: Any, where: dict[str, str] = where, times: Any = times, **more: str) -> None:
            found.append(({"__name__": name, **where, **more}, times, np.asarray(values, np.float64)))

        def counter(name: str, pace: float, **more: str) -> None:
            rising = np.cumsum(random.random(count) * pace)
            reset = random.integers(count // 3, count)
            rising[reset:] -= rising[reset - 1]
            gauge(name, rising, **more)

        for kind in ("buffers", "cached", "free", "used"):
            gauge("demo_memory_usage_bytes", 1e9 + np.cumsum(random.normal(0, 1e6, count)), type=kind)
        for mode in ("idle", "system", "user"):
            counter("demo_cpu_usage_seconds_total", 3.0, mode=mode)
        gauge("demo_num_cpus", np.full(count, 4.0))
        gauge("demo_disk_usage_bytes", 5e9 + 1e5 * np.arange(count) + random.normal(0, 1e5, count))
        gauge("demo_disk_total_bytes", np.full(count, 1e11))
        started = times[0] / 1000 + 60 * (np.arange(count) // 12)
        gauge("demo_batch_last_success_timestamp_seconds", started)
        shown = np.flatnonzero(np.arange(count) // 40 % 3)
        found.append(
            ({"__name__": "demo_intermittent_metric", **where}, times[shown], np.arange(len(shown), dtype=np.float64))
        )
        buckets = np.cumsum(random.integers(0, 5, (count, 6)), axis=0).cumsum(axis=1).astype(np.float64)
        for place, bound in enumerate(("0.01", "0.05", "0.25", "1", "5", "+Inf")):
            gauge("demo_api_request_duration_seconds_bucket", buckets[:, place], le=bound, method="GET", path="/api")
        gauge("demo_api_request_duration_seconds_count", buckets[:, -1], method="GET", path="/api")
        gauge("demo_api_request_duration_seconds_sum", buckets[:, -1] * 0.3, method="GET", path="/api")
    return found


def filled(series: list[Series]) -> Store:
    """The store with these samples."""
    store = Store(retention=1e9)
    for labels, times, values in series:
        rest = {name: value for name, value in labels.items() if name != "__name__"}
        store.load(labels["__name__"], [Labels(rest)], times.tolist(), values[:, None])
    return store


def theirs(data: dict[str, Any]) -> dict[Labels, dict[float, float]]:
    """Prometheus' matrix by labels and time."""
    return {
        Labels(line["metric"]): {float(at): float(value) for at, value in line["values"]} for line in data["result"]
    }


def ours(store: Store, text: str, start: float, end: float, step: float) -> dict[Labels, dict[float, float]]:
    """The engine's matrix by labels and time."""
    matrix = evaluate_range(compile_expr(text), store, utc(start), utc(end), step)
    return {
        line.labels: {at / 1000: value for at, value in zip(line.times.tolist(), line.values.tolist(), strict=True)}
        for line in matrix
    }


def difference(one: dict[Labels, dict[float, float]], other: dict[Labels, dict[float, float]]) -> str:
    """What differs first; empty when nothing does, within 1e-9 (1e-6 for what is a difference of large numbers)."""
    if one.keys() != other.keys():
        only_theirs, only_ours = (
            sorted(map(repr, one.keys() - other.keys())),
            sorted(map(repr, other.keys() - one.keys())),
        )
        return f"series: only theirs {only_theirs[:2]}, only ours {only_ours[:2]}"
    for labels, points in one.items():
        if points.keys() != other[labels].keys():
            return f"{labels!r}: {len(points)} points theirs, {len(other[labels])} ours"
        for at, value in points.items():
            mine = other[labels][at]
            same = (math.isnan(value) and math.isnan(mine)) or value == mine
            if not same and not math.isclose(value, mine, rel_tol=1e-6, abs_tol=1e-9):
                return f"{labels!r} at {at}: {value!r} theirs, {mine!r} ours"
    return ""


def judge(query: Query, peer: LivePrometheus, store: Store, start: float, end: float, step: float) -> str:
    """What differs; empty when both agree."""
    try:
        expected = theirs(peer.query_range(query.text, start, end, step))
        refused = ""
    except Refusal as refusal:
        expected, refused = {}, str(refusal)
    try:
        found = ours(store, query.text, start, end, step)
    except (PromQLError, EvaluationError) as error:
        return "" if refused else f"ours fails: {error}"
    return f"theirs fails: {refused}" if refused else difference(expected, found)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.compliance", description=__doc__)
    parser.add_argument("path", nargs="?", type=Path, default=CORPUS)
    options = parser.parse_args()
    until = int(time.time()) // 10 * 10 * 1000 + 1234
    series = demo(until)
    store = filled(series)
    equal = different = explained = 0
    with LivePrometheus() as peer:
        peer.write(series)
        end = until / 1000 - 60 - 1.7
        for query in queries(options.path):
            found = judge(query, peer, store, end - 600, end, 10.0)
            reason = next((why for pattern, why in EXPLAINED.items() if re.search(pattern, query.text)), "")
            if not found:
                equal += 1
            elif reason:
                explained += 1
                print(f"explained: {query.text}\n    {reason}")
            else:
                different += 1
                print(f"different: {query.text}\n    {found}")
    print(f"{equal} equal, {different} different, {explained} explained")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
