"""An answer as samples. Pure, but for the counts that a `Tally` carries from poll to poll."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from collectors.endpoint.answer import Answer, Reason, shortfalls
from collectors.endpoint.settings import Target
from tocsin.model import Labels, Sample


@dataclass(kw_only=True, slots=True)
class Tally:
    """One target's counters, since the daemon's start."""

    bounds: tuple[float, ...]
    since: datetime
    """When they were zero."""
    counts: list[int] = field(default_factory=list)
    """Per bucket, not cumulative; the last is +Inf."""
    sum: float = 0.0
    outcomes: dict[str, int] = field(default_factory=lambda: {"success": 0, "failure": 0})

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, answer: Answer, *, up: bool) -> None:
        """Count a probe. Its duration counts when it was answered or waited to the end: a port that refuses at once
        would make a broken service look fast."""
        self.outcomes["success" if up else "failure"] += 1
        if answer.failure in (None, Reason.TIMEOUT):
            self.counts[bisect_left(self.bounds, answer.total)] += 1
            self.sum += answer.total


def verdict_of(target: Target, at: datetime, failures: tuple[Reason, ...], *, aliases: bool) -> Iterator[Sample]:
    """Up or not. Told once per poll: with the answer, or when `expect.max_seconds` has passed without one."""
    up = 0.0 if failures else 1.0
    yield _sample("tocsin_endpoint_up", target, at, up)
    if aliases:
        yield _sample("probe_success", target, at, up)
    for reason in failures:
        yield _sample("tocsin_endpoint_failure", target, at, 1.0, reason=reason.value)


def samples_of(
    target: Target, answer: Answer, at: datetime, tally: Tally, *, told_slow: bool = False, aliases: bool = True
) -> Iterator[Sample]:
    """All that one answer says. Counts it in `tally`.

    `told_slow`: that the target is down for slowness was said before it answered, so only what else is wrong is added.
    """
    failures = shortfalls(target.expect, answer)
    tally.add(answer, up=not failures and not told_slow)
    if told_slow:
        for reason in failures:
            if reason is not Reason.SLOW:
                yield _sample("tocsin_endpoint_failure", target, at, 1.0, reason=reason.value)
    else:
        yield from verdict_of(target, at, failures, aliases=aliases)
    for phase, seconds in answer.phases.items():
        yield _sample("tocsin_endpoint_phase_seconds", target, at, seconds, phase=phase)
    if answer.failure is None:
        yield _sample("tocsin_endpoint_phase_seconds", target, at, answer.total, phase="total")
    if answer.status is not None:
        yield _sample("tocsin_endpoint_status_code", target, at, float(answer.status))
    if answer.certificate_expires_at is not None:
        yield _sample("tocsin_endpoint_certificate_expiry_timestamp_seconds", target, at, answer.certificate_expires_at)
    if aliases:
        yield _sample("probe_duration_seconds", target, at, answer.total)
        yield _sample("probe_http_status_code", target, at, float(answer.status or 0))
        if answer.certificate_expires_at is not None:
            yield _sample("probe_ssl_earliest_cert_expiry", target, at, answer.certificate_expires_at)
    yield from _counters(target, at, tally)


def standing_of(target: Target, at: datetime, ratios: Iterable[tuple[str, float]]) -> Iterator[Sample]:
    """What is said of longer times: uptime by window, and the objective where there is one."""
    for window, ratio in ratios:
        yield _sample("tocsin_endpoint_uptime_ratio", target, at, ratio, window=window)
    if target.slo is not None:
        # 99.9 / 100 is 0.9990000000000001.
        yield _sample("tocsin_endpoint_slo_ratio", target, at, round(target.slo / 100, 9))


def _counters(target: Target, at: datetime, tally: Tally) -> Iterator[Sample]:
    total = 0
    for bound, count in zip((*tally.bounds, float("inf")), tally.counts, strict=True):
        total += count
        le = "+Inf" if bound == float("inf") else repr(float(bound))
        yield _sample("tocsin_endpoint_duration_seconds_bucket", target, at, float(total), tally.since, le=le)
    yield _sample("tocsin_endpoint_duration_seconds_sum", target, at, tally.sum, tally.since)
    yield _sample("tocsin_endpoint_duration_seconds_count", target, at, float(total), tally.since)
    for outcome, count in tally.outcomes.items():
        yield _sample("tocsin_endpoint_probes_total", target, at, float(count), tally.since, outcome=outcome)


def _sample(
    name: str, target: Target, at: datetime, value: float, created: datetime | None = None, **more: str
) -> Sample:
    labels = _labels(target.instance, target.service, *next(iter(more.items()), ("", "")))
    return Sample(name=name, labels=labels, value=value, at=at, created=created)


@lru_cache(maxsize=65_536)
def _labels(instance: str, service: str, name: str, value: str) -> Labels:
    # The same few dozen label sets per target at every poll. A label without a value is none.
    return Labels({name: value} if name else None, instance=instance, service=service)
