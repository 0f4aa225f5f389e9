"""The text of /metrics: Tocsin's own registry, then the newest sample of every collected series.

Nothing is queried for a scrape: these are the values of the last polls, and
`tocsin_collector_last_success_timestamp_seconds` tells their age.
Format: Prometheus text 0.0.4.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest

from tocsin.model import METRIC_NAME, Labels, Metric

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def exposition(
    registry: CollectorRegistry, latest: Iterable[tuple[Labels, float]], declared: Iterable[Metric], own_job: str
) -> bytes:
    """The page. Series of `own_job` are left out of `latest`: the registry says them already."""
    families: dict[str, list[tuple[Labels, float]]] = defaultdict(list)
    for labels, value in latest:
        if labels.get("job") != own_job:
            families[labels.get(METRIC_NAME, "")].append((labels, value))
    meta = _by_series_name(declared)
    lines: list[str] = []
    said: set[str] = set()
    for name in sorted(families, key=lambda name: (meta[name].name if name in meta else name, name)):
        metric = meta.get(name)
        if metric is not None and metric.name not in said:
            said.add(metric.name)
            lines.append(f"# HELP {metric.name} {_escaped_help(metric.help)}")
            lines.append(f"# TYPE {metric.name} {metric.type.value}")
        lines.extend(f"{name}{_braced(labels)} {_number(value)}" for labels, value in families[name])
    return bytes(generate_latest(registry)) + "".join(f"{line}\n" for line in lines).encode()


def _by_series_name(declared: Iterable[Metric]) -> Mapping[str, Metric]:
    return {name: metric for metric in declared for name in metric.series_names()}


def _braced(labels: Labels) -> str:
    inner = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items() if name != METRIC_NAME)
    return f"{{{inner}}}" if inner else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _escaped_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)
