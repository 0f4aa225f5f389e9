"""A registry of prometheus_client as OpenTelemetry's metrics. Loads OpenTelemetry.

    counter                 Sum, monotonic, cumulative since its `_created`
    gauge, info, untyped    Gauge
    histogram               Histogram with explicit bounds; exemplars with their trace
    summary                 its _count and _sum as Sums, its quantiles as a Gauge

Names and labels stay as they are. https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)
from prometheus_client import Metric as Family
from prometheus_client.samples import Sample

_CUMULATIVE: Final = AggregationTemporality.CUMULATIVE
_UNITS: Final = {"seconds": "s", "bytes": "By", "ratio": "1"}
"""https://ucum.org, as OpenTelemetry wants it, by what Prometheus' names end with."""
_SUMS: Final = ("_total", "_count", "_sum")
_UNKNOWN: Final[Any] = None
"""Prometheus' histograms keep no extremes; the exporter leaves out what is None, though the SDK's types say float."""
Key = tuple[tuple[str, str], ...]


def metrics_of(families: Iterable[Family], began: int, now: int) -> list[Metric]:
    """What the registry collected at `now`; `began` is for series that don't know when they began. Both in nanoseconds
    since the epoch."""
    return [metric for family in families for metric in _metrics(family, began, now)]


def _metrics(family: Family, began: int, now: int) -> Iterator[Metric]:
    created = {
        _key(sample): int(sample.value * 1e9) for sample in family.samples if sample.name.endswith("_created")
    }  # fmt: skip
    if family.type == "histogram":
        points = list(_histograms(family, created, began, now))
        if points:
            yield _metric(family, family.name, Histogram(points, _CUMULATIVE))
        return
    by_name: dict[str, list[NumberDataPoint]] = {}
    for sample in family.samples:
        if not sample.name.endswith("_created"):
            point = NumberDataPoint(
                dict(sample.labels), created.get(_key(sample), began), now, float(sample.value), _exemplars((sample,))
            )
            by_name.setdefault(sample.name, []).append(point)
    for name, found in by_name.items():
        grows = family.type in ("counter", "summary") and name.endswith(_SUMS)
        yield _metric(family, name, Sum(found, _CUMULATIVE, True) if grows else Gauge(found))


def _metric(family: Family, name: str, data: Any) -> Metric:
    last = family.name.rpartition("_")[2]
    return Metric(name=name, description=family.documentation, unit=_UNITS.get(family.unit or last, ""), data=data)


def _histograms(family: Family, created: dict[Key, int], began: int, now: int) -> Iterator[HistogramDataPoint]:
    buckets: dict[Key, list[Sample]] = {}
    sums: dict[Key, float] = {}
    for sample in family.samples:
        if sample.name.endswith("_bucket"):
            buckets.setdefault(_key(sample), []).append(sample)
        elif sample.name.endswith("_sum"):
            sums[_key(sample)] = float(sample.value)
    for key, found in buckets.items():
        found.sort(key=_bound)
        counts = [int(sample.value) for sample in found]
        yield HistogramDataPoint(
            attributes=dict(key), start_time_unix_nano=created.get(key, began), time_unix_nano=now, count=counts[-1],
            sum=sums.get(key, 0.0),
            bucket_counts=[count - before for count, before in zip(counts, [0, *counts], strict=False)],
            explicit_bounds=[_bound(sample) for sample in found[:-1]],
            min=_UNKNOWN, max=_UNKNOWN,
            exemplars=_exemplars(found),
        )  # fmt: skip


def _exemplars(samples: Iterable[Sample]) -> list[Exemplar]:
    found = []
    for sample in samples:
        given = sample.exemplar
        if given is not None:
            labels = dict(given.labels)
            trace, span = labels.pop("trace_id", ""), labels.pop("span_id", "")
            at = int(float(given.timestamp or 0.0) * 1e9)
            both = (int(span, 16), int(trace, 16)) if trace and span else (None, None)
            found.append(Exemplar(labels, float(given.value), at, *both))
    return found


def _key(sample: Sample) -> Key:
    return tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))


def _bound(sample: Sample) -> float:
    return float(sample.labels["le"])
