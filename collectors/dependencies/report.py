"""What a scan found. No socket, no process, no clock."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from collectors.dependencies.cvss import base_score
from collectors.dependencies.declarations import AS_OF, FINDING, FINDINGS, PACKAGES
from tocsin.model import Labels, Metric, Sample, Seconds


class Severity(StrEnum):
    """The worst first."""

    CRITICAL = "critical"
    HIGH = "high"
    UNKNOWN = "unknown"
    MODERATE = "moderate"
    LOW = "low"


_WORDS: Mapping[str, Severity] = {
    **{str(severity): severity for severity in Severity},
    "medium": Severity.MODERATE,
    "info": Severity.LOW,
}
_RANK = {severity: rank for rank, severity in enumerate(Severity)}


class Finding(BaseModel):
    """One package with one known vulnerability."""

    model_config = ConfigDict(frozen=True)

    package: str
    version: str
    id: str
    aliases: tuple[str, ...] = ()
    fixed_in: str = ""
    """The lowest release that mends it; empty: none does."""
    severity: Severity = Severity.UNKNOWN


class Report(BaseModel):
    """One scan that looked up every package."""

    model_config = ConfigDict(frozen=True)

    as_of: Seconds
    """When it began, since the epoch."""
    packages: int
    findings: tuple[Finding, ...]

    def worst_first(self) -> list[Finding]:
        """By severity, then by name, so that a cut keeps the same ones at every poll."""
        return sorted(self.findings, key=lambda one: (_RANK[one.severity], one.package, one.id))


def severity_of(word: object) -> Severity:
    """An advisory's word for how bad it is (GHSA: LOW, MODERATE, HIGH, CRITICAL; npm: info, low, …)."""
    return _WORDS.get(str(word).lower(), Severity.UNKNOWN)


def rated(record: Mapping[str, Any]) -> Severity:
    """What an OSV record says of itself (https://ossf.github.io/osv-schema/): its word, or else its CVSS 3 vector."""
    specific = record.get("database_specific")
    word = severity_of(specific.get("severity")) if isinstance(specific, Mapping) else Severity.UNKNOWN
    return word if word is not Severity.UNKNOWN else _by_vector(record.get("severity"))


def _by_vector(vectors: object) -> Severity:
    """By CVSS' own scale (section 5): from 9 critical, 7 high, 4 moderate."""
    entries = [entry for entry in vectors if isinstance(entry, Mapping)] if isinstance(vectors, list) else []
    scores = [score for entry in entries if (score := base_score(str(entry.get("score", "")))) is not None]
    if not scores:
        return Severity.UNKNOWN
    scale = ((9.0, Severity.CRITICAL), (7.0, Severity.HIGH), (4.0, Severity.MODERATE))
    return next((severity for least, severity in scale if max(scores) >= least), Severity.LOW)


def lowest_above(fixes: Iterable[str], version: str) -> str:
    """The lowest of `fixes` that mends an affected `version`; empty: none. A release line below it has fixes, too, to
    which nobody goes back."""
    above = [fix for fix in fixes if _release(fix) >= _release(version)]
    return min(above, key=_release, default="")


def _release(version: str) -> tuple[int, ...]:
    """Enough of semantic versions and PEP 440 to compare releases: the fix of a pre-release is its release. Zeros at
    the end say nothing."""
    found = _RELEASE.match(version)
    numbers = [int(number) for number in found.group(2).split(".")] if found is not None else []
    while numbers and not numbers[-1]:
        numbers.pop()
    return (int(found.group(1) or 0), *numbers) if found is not None else ()


_RELEASE: Final = re.compile(r"v?(?:(\d+)!)?(\d+(?:\.\d+)*)")


def samples_of(source: str, report: Report, at: datetime, most: int) -> Iterator[Sample]:
    """A scan's series at `at`; `most` findings have one of their own."""

    def sample(metric: Metric, value: float, **labels: str) -> Sample:
        return Sample(name=metric.name, labels=Labels(source=source, **labels), value=value, at=at)

    yield sample(AS_OF, report.as_of)
    yield sample(PACKAGES, report.packages)
    for severity in Severity:
        count = sum(finding.severity is severity for finding in report.findings)
        yield sample(FINDINGS, count, severity=str(severity))
    for finding in report.worst_first()[:most]:
        yield sample(
            FINDING,
            1,
            package=finding.package,
            version=finding.version,
            id=finding.id,
            severity=str(finding.severity),
            fixed_in=finding.fixed_in,
        )
