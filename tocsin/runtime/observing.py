"""What the pipeline's work looks like from outside: counted in the metrics, told in the log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client import Gauge

from tocsin.errors import SeriesLimit
from tocsin.incidents import Book, Outcome
from tocsin.model import Alert, Sample, Severity
from tocsin.runtime.evaluation import Evaluation, RuleBook
from tocsin.runtime.sources import Source
from tocsin.series import Store
from tocsin.telemetry.logs import logger
from tocsin.telemetry.metrics import Telemetry

NAMED: Final = 20
"""So many of what a source can't see, and of the rules that this blinds, are named."""


def append(source: str, samples: Sequence[Sample], store: Store, telemetry: Telemetry) -> None:
    """Samples into the store; what it refuses is counted by why."""
    before = store.refused
    try:
        store.append(samples)
    except SeriesLimit as limit:
        logger().warning("series.limit", collector=source, error=str(limit))
    after = store.refused
    over = after.over_limit - before.over_limit
    old = after.out_of_order + after.duplicate - before.out_of_order - before.duplicate
    telemetry.samples.labels(source).inc(max(0, len(samples) - over - old))
    # Counted also when it is none: TocsinSeriesRefused needs a zero to see the first ones rise from.
    telemetry.samples_refused.labels(source, "limit").inc(over)
    if old:
        telemetry.samples_refused.labels(source, "old").inc(old)


def flush(store: Store, telemetry: Telemetry) -> None:
    """What was appended goes to the journal: a crash after this keeps it."""
    well = telemetry.registry.get_sample_value("tocsin_series_journal_up") == 1
    store.flush()
    if well and store.problem:
        telemetry.series_ok.set(0)
        logger().error("series.not_journaled", problem=store.problem)
    elif not well and not store.problem:
        telemetry.series_ok.set(1)
        logger().info("series.journaled_again")


def tell_evaluated(done: Evaluation, telemetry: Telemetry) -> None:
    """Which groups ran, and what is newly wrong with their rules."""
    for name in done.groups:
        telemetry.evaluations.labels(name).inc()
    for group, problem in done.new_problems:
        logger().warning("rules.problem", rule_group=group, rule=problem.rule, error=problem.what)


def tell_decided(outcome: Outcome, telemetry: Telemetry) -> None:
    """Every decision with its reason, and how long it took from the poll that saw why."""
    for decided in outcome.decisions:
        decision = decided.decision
        telemetry.decisions.labels(decision.action.value, decision.reason.value).inc()
        logger().info(
            "incident.decided", incident=decided.incident, notifier=decided.notifier,
            action=decision.action.value, reason=decision.reason.value, because=decision.because,
        )  # fmt: skip
    for row in outcome.queue:
        if row.timeline.sampled_at is not None and row.timeline.decided_at is not None:
            took = (row.timeline.decided_at - row.timeline.sampled_at).total_seconds()
            telemetry.stage_seconds.labels("decided", row.severity.value).observe(max(0.0, took))


def tell_blindness(source: Source, rules: RuleBook, telemetry: Telemetry, *, was_blind: bool) -> None:
    """What a source can't see any more and which rules that blinds, or that it sees again."""
    forget_blindness(source.name, telemetry)
    if not source.spots:
        if was_blind:
            logger().info("source.seen", collector=source.name)
        return
    names = rules.reading({name for spot in source.spots for name in spot.metrics})
    telemetry.blind.labels(source.name, str(len(names))).set(1)
    more = (f"… and {len(names) - NAMED} more",) if len(names) > NAMED else ()
    for name in (*names[:NAMED], *more):
        telemetry.blind_rule.labels(source.name, name).set(1)
    for spot in source.spots[:NAMED]:
        logger().warning(
            "source.blind", collector=source.name, why=spot.why, since=spot.since.isoformat(),
            metrics=len(spot.metrics), rules=list(names)[:NAMED],
        )  # fmt: skip
    if len(source.spots) > NAMED:
        logger().warning("source.blind_more", collector=source.name, more=len(source.spots) - NAMED)


def forget_blindness(name: str, telemetry: Telemetry) -> None:
    """A source that sees, or is no more."""
    for gauge in (telemetry.blind, telemetry.blind_rule):
        for labels in [key for key in _label_values(gauge) if key[0] == name]:
            gauge.remove(*labels)


def measure(book: Book, rules: RuleBook, external: Iterable[Alert], store: Store, telemetry: Telemetry) -> None:
    """The gauges that are states, not events."""
    telemetry.series.set(store.series_count)
    rules.measure(telemetry, external)
    by_severity = dict.fromkeys(Severity, 0)
    for incident in book.open:
        by_severity[incident.severity] += 1
    for severity, count in by_severity.items():
        telemetry.incidents.labels(severity.value).set(count)


def _label_values(gauge: Gauge) -> list[tuple[str, ...]]:
    # prometheus_client has no public way to list a metric's children.
    return list(getattr(gauge, "_metrics", {}))
