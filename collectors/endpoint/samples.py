"""An answer as samples. Pure, but for the counts that a `Tally` carries from poll to poll."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from collectors.endpoint.answer import Answer, Reason, StepResult, shortfalls
from collectors.endpoint.target import Target
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
    failed_tries: int = 0
    """Of all probes, those that a later try made good included."""
    tries: int = 0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, answer: Answer, *, up: bool, tries: int) -> None:
        """Count a probe, and its duration where that says something."""
        self.outcomes["success" if up else "failure"] += 1
        self.tries += tries
        self.failed_tries += tries - up
        if answer.was_waited_for:
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
    target: Target,
    answer: Answer,
    at: datetime,
    tally: Tally,
    *,
    tries: int = 1,
    told_slow: bool = False,
    aliases: bool = True,
) -> Iterator[Sample]:
    """All that one answer says. Counts it in `tally`.

    `tries`: how many it took, the last of which gave this answer; those before have failed. `told_slow`: that the
    target is down for slowness was said before it answered, so only what else is wrong is added.
    """
    failures = shortfalls(target.expect, answer)
    tally.add(answer, up=not failures and not told_slow, tries=tries)
    if told_slow:
        for reason in failures:
            if reason is not Reason.SLOW:
                yield _sample("tocsin_endpoint_failure", target, at, 1.0, reason=reason.value)
    else:
        yield from verdict_of(target, at, failures, aliases=aliases)
    for phase, seconds in answer.phases.items():
        yield _sample("tocsin_endpoint_phase_seconds", target, at, seconds, phase=phase)
    if answer.was_answered:
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
    if target.retries:
        yield _sample("tocsin_endpoint_probe_tries", target, at, float(tries))
    for step in answer.steps or ():
        yield from _step(target, step, at)
    yield from _counters(target, at, tally)


def _step(target: Target, step: StepResult, at: datetime) -> Iterator[Sample]:
    if step.seconds is not None:
        yield _sample("tocsin_endpoint_step_seconds", target, at, step.seconds, step=step.name)
    failure = "tocsin_endpoint_cleanup_failure" if step.cleanup else "tocsin_endpoint_step_failure"
    for reason in step.reasons:
        yield _sample(failure, target, at, 1.0, reason=reason.value, step=step.name)


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
    for outcome, count in (("success", tally.tries - tally.failed_tries), ("failure", tally.failed_tries)):
        yield _sample("tocsin_endpoint_tries_total", target, at, float(count), tally.since, outcome=outcome)


def _sample(
    name: str, target: Target, at: datetime, value: float, created: datetime | None = None, **more: str
) -> Sample:
    labels = _labels(target.instance, target.service, *more.items())
    return Sample(name=name, labels=labels, value=value, at=at, created=created)


@lru_cache(maxsize=65_536)
def _labels(instance: str, service: str, *more: tuple[str, str]) -> Labels:
    # The same few dozen label sets per target at every poll. A label without a value is none.
    return Labels(dict(more), instance=instance, service=service)
