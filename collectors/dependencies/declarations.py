"""What the dependencies collector yields."""

from __future__ import annotations

from typing import Final

from tocsin.model import Metric, MetricType


def _gauge(name: str, help_: str, *labels: str, unit: str = "") -> Metric:
    return Metric(name=name, type=MetricType.GAUGE, help=help_, labels=("source", *labels), unit=unit)


UP: Final = _gauge("tocsin_dependency_scan_up", "1 when the last try to scan succeeded, else 0.")
AS_OF: Final = _gauge(
    "tocsin_dependency_scan_timestamp_seconds",
    "When the last scan that succeeded began, which its findings are as of.",
    unit="seconds",
)
PACKAGES: Final = _gauge("tocsin_dependency_packages", "Packages that the last scan looked up.")
FINDINGS: Final = _gauge(
    "tocsin_dependency_findings",
    "Known vulnerabilities by severity: critical, high, moderate, low, unknown (nobody rated it).",
    "severity",
)
FINDING: Final = _gauge(
    "tocsin_dependency_finding",
    "1 for each known vulnerability; fixed_in is empty where no release mends it.",
    "package",
    "version",
    "id",
    "severity",
    "fixed_in",
)

METRICS: Final = (UP, AS_OF, PACKAGES, FINDINGS, FINDING)
