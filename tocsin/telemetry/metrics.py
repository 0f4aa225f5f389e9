"""Tocsin's own metrics: one registry per daemon.

They are served on /metrics and, as series of job `tocsin`, read by the rules in alert_rules/tocsin.yaml: the daemon is
watched by the same engine as everything else. Every one is declared here, so that rules and dashboards can be checked
against the list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client import Metric as Family
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from tocsin.model import Labels, Metric, MetricType, Sample, Seconds, utc
from tocsin.telemetry.instruments import (
    AccessMetrics,
    DaemonMetrics,
    DeliveryMetrics,
    HeartbeatMetrics,
    IncidentMetrics,
    IntakeMetrics,
    PollMetrics,
    RemoteMetrics,
    ReplicaMetrics,
    ResponseMetrics,
    RuleMetrics,
)

JOB: Final = "tocsin"

_TYPES: Final = {kind.value: kind for kind in MetricType}
_RISING: Final = frozenset({"counter", "histogram"})
_MOMENT: Final = timedelta(milliseconds=1)
"""Two samples of a series are apart by that at least."""


class Telemetry(
    PollMetrics,
    HeartbeatMetrics,
    IntakeMetrics,
    RuleMetrics,
    AccessMetrics,
    IncidentMetrics,
    DeliveryMetrics,
    ResponseMetrics,
    ReplicaMetrics,
    RemoteMetrics,
    DaemonMetrics,
):
    """The registry and its instruments."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        PollMetrics.__init__(self, self.registry)
        HeartbeatMetrics.__init__(self, self.registry)
        IntakeMetrics.__init__(self, self.registry)
        RuleMetrics.__init__(self, self.registry)
        AccessMetrics.__init__(self, self.registry)
        IncidentMetrics.__init__(self, self.registry)
        DeliveryMetrics.__init__(self, self.registry)
        ResponseMetrics.__init__(self, self.registry)
        ReplicaMetrics.__init__(self, self.registry)
        RemoteMetrics.__init__(self, self.registry)
        DaemonMetrics.__init__(self, self.registry)
        self._shown: set[tuple[str, Labels]] = set()
        """What rises and was read before."""
        self._read_at: datetime | None = None

    def samples_at(self, at: datetime) -> Iterator[Sample]:
        """The registry as samples of job `tocsin`. Finish it: what is new in the next reading is told by this one.

        What rises and is read for the first time, above zero already, is told with the zero that it rose from: a
        counter with labels is there from its first event on, and increase() would miss that. Also where the store
        knows the series: it is of the process before, which may have ended at the very same value.
        """
        for family in self.registry.collect():
            rises = family.type in _RISING
            for sample in family.samples:
                if sample.name.endswith("_created"):
                    continue
                labels, value = Labels({**sample.labels, "job": JOB}), float(sample.value)
                if rises and (key := (sample.name, labels)) not in self._shown:
                    self._shown.add(key)
                    if value and (born := self._born(family, sample.labels, at)) is not None:
                        yield Sample(name=sample.name, labels=labels, value=0.0, at=born)
                yield Sample(name=sample.name, labels=labels, value=value, at=at)
        self._read_at = at

    def _born(self, family: Family, labels: Mapping[str, str], at: datetime) -> datetime | None:
        """When it was at zero: as prometheus_client noted, after the last reading and before this one."""
        of = {name: value for name, value in labels.items() if name != "le"}
        told: Seconds | None = next(
            (each.value for each in family.samples if each.name.endswith("_created") and each.labels == of), None
        )
        if told is None:
            return self._read_at
        return min(max(utc(told), self._read_at or utc(told)), at - _MOMENT)

    def declarations(self) -> tuple[Metric, ...]:
        """What the registry may yield."""
        found = []
        for family in self.registry.collect():
            kind = _TYPES.get(family.type, MetricType.UNTYPED)
            name = f"{family.name}_total" if kind is MetricType.COUNTER else family.name
            found.append(Metric(name=name, type=kind, help=family.documentation))
        return (*found, *COLLECTOR_METRICS)


CANARY_WALK: Final = Metric(
    name="tocsin_canary_walk", type=MetricType.GAUGE, labels=("job",),
    help="Walks of the heartbeat's canary since the start, by its own count",
)  # fmt: skip

COLLECTOR_METRICS: Final = (
    CANARY_WALK,
    Metric(
        name="tocsin_collector_up", type=MetricType.GAUGE, labels=("job",),
        help="1 when the collector's last poll saw all it should, 0 when it failed or was blind in part",
    ),
    Metric(
        name="tocsin_collector_duration_seconds", type=MetricType.GAUGE, labels=("job",),
        help="How long the collector's last poll took",
    ),
    Metric(
        name="tocsin_collector_last_success_timestamp_seconds", type=MetricType.GAUGE, labels=("job",),
        help="When the collector last saw all it should; its age is time() less this",
    ),
    Metric(
        name="tocsin_collector_samples", type=MetricType.GAUGE, labels=("job",),
        help="Samples the collector's last poll yielded",
    ),
    Metric(
        name="ALERTS", type=MetricType.GAUGE, labels=("alertname", "alertstate"),
        help="1 for each active alert, as Prometheus writes it",
    ),
    Metric(
        name="ALERTS_FOR_STATE", type=MetricType.GAUGE, labels=("alertname",),
        help="When each active alert's condition began, in seconds since the epoch",
    ),
)  # fmt: skip
"""Series that the runtime writes by itself."""
