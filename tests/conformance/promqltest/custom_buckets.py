"""Classic buckets as native histograms with custom bounds, for `load_with_nhcb`.

Source: prometheus/promql/promqltest/test.go, appendCustomHistogram(); prometheus/util/convertnhcb.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field

from tests.conformance.promqltest.script import Load
from tocsin.model import Labels
from tocsin.promql.native import Histogram
from tocsin.promql.native.arithmetic import compact
from tocsin.promql.native.value import CUSTOM


@dataclass
class _Parts:
    """The samples of one classic histogram at one time."""

    buckets: dict[float, float] = field(default_factory=dict)
    total: float = 0.0
    count: float | None = None


def with_custom_buckets(command: Load) -> dict[Labels, dict[float, float | Histogram]]:
    """The histograms that the load's classic buckets are, by time."""
    found: dict[Labels, dict[float, _Parts]] = defaultdict(lambda: defaultdict(_Parts))
    for line in command.series:
        name = line.labels.get("__name__", "")
        for suffix in ("_bucket", "_count", "_sum"):
            if not name.endswith(suffix) or (suffix == "_bucket" and "le" not in line.labels):
                continue
            labels = line.labels.without("le").with_(__name__=name.removesuffix(suffix))
            for index, value in enumerate(line.points):
                if isinstance(value, float):
                    parts = found[labels][index * command.step]
                    if suffix == "_bucket":
                        bound = float(line.labels["le"])
                        parts.buckets[bound] = max(value, parts.buckets.get(bound, 0.0))
                    elif suffix == "_sum":
                        parts.total = value
                    else:
                        parts.count = value
    return {
        labels: {at: _histogram(parts) for at, parts in times.items() if parts.buckets}
        for labels, times in found.items()
    }


def _histogram(parts: _Parts) -> Histogram:
    bounds = sorted(parts.buckets)
    if not math.isinf(bounds[-1]):
        last = parts.count if parts.count is not None else parts.buckets[bounds[-1]]
        parts.buckets[math.inf] = last
        bounds.append(math.inf)
    counts: dict[int, float] = {}
    before = 0.0
    for index, bound in enumerate(bounds):
        counts[index] = parts.buckets[bound] - before
        before = parts.buckets[bound]
    return Histogram(
        schema=CUSTOM, bounds=tuple(bounds[:-1]), positive=compact(counts), sum=parts.total,
        count=parts.buckets[math.inf] if parts.count is None else parts.count,
    )  # fmt: skip
