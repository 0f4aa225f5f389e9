"""What Tocsin measures of itself, by the stage it belongs to. `Telemetry` is all of them on one registry."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_STEPS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300)


class PollMetrics:
    """Collectors' polls and the loops that run them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.polls = Counter(
            "tocsin_polls_total", "Polls by collector and outcome: ok, blind (in part), failed, deadline, overrun",
            ["collector", "outcome"], registry=registry,
        )  # fmt: skip
        self.poll_lag = Histogram(
            "tocsin_poll_lag_seconds", "How late a scheduled poll began", buckets=_STEPS, registry=registry
        )
        self.rescued = Counter(
            "tocsin_scheduler_rescues_total",
            "Polls that the monotonic watchdog started because the scheduler had not (a clock that jumped)",
            registry=registry,
        )
        self.jobs = Counter(
            "tocsin_scheduler_jobs_total", "Scheduler events that are not a normal run: missed, overrun, error",
            ["event"], registry=registry,
        )  # fmt: skip
        self.loop_lag = Gauge(
            "tocsin_event_loop_lag_seconds", "How late the watchdog's last tick came", registry=registry
        )
        self.stalls = Counter(
            "tocsin_loop_stalls_total",
            "Times that the event loop stood still for 5 seconds: blocked (by something on it), paused (the process)",
            ["kind"], registry=registry,
        )  # fmt: skip
        for kind in ("blocked", "paused"):
            self.stalls.labels(kind)  # there from the start: increase() needs a zero to count from
        self.clock_skew = Gauge(
            "tocsin_clock_skew_seconds",
            "Tocsin's own time less the wall clock: above 0 after the wall clock was set back",
            registry=registry,
        )


class HeartbeatMetrics:
    """The canary and the heartbeat that it gates."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.heartbeats = Counter(
            "tocsin_heartbeats_total",
            "Walks of the canary by what came of them: sent, failed (the address did not take it), withheld",
            ["outcome"], registry=registry,
        )  # fmt: skip
        self.heartbeat_at = Gauge(
            "tocsin_heartbeat_last_success_timestamp_seconds", "When the heartbeat's address took a ping",
            registry=registry,
        )  # fmt: skip
        self.heartbeat_every = Gauge(
            "tocsin_heartbeat_interval_seconds", "Between two pings; 0 while no heartbeat is configured",
            registry=registry,
        )  # fmt: skip
        self.canary_seconds = Histogram(
            "tocsin_canary_duration_seconds", "The canary's way from its poll to its receipt", buckets=_STEPS,
            registry=registry,
        )  # fmt: skip


class IntakeMetrics:
    """What polls bring: the pipeline and the series store."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.pipeline_ok = Gauge(
            "tocsin_pipeline_up", "0 when the last poll could not be stored and evaluated: a defect", registry=registry
        )
        self.pipeline_ok.set(1)
        self.pipeline_errors = Counter(
            "tocsin_pipeline_errors_total", "Polls that could not be stored and evaluated, by collector", ["collector"],
            registry=registry,
        )  # fmt: skip
        self.samples = Counter(
            "tocsin_samples_appended_total", "Samples stored, by collector", ["collector"], registry=registry
        )
        self.samples_refused = Counter(
            "tocsin_samples_refused_total", "Samples not stored, by collector and reason: old, limit, error",
            ["collector", "reason"], registry=registry,
        )  # fmt: skip
        self.series = Gauge("tocsin_series", "Series in the embedded store", registry=registry)
        self.series_ok = Gauge(
            "tocsin_series_journal_up", "1 when the last write to the series journal went through", registry=registry
        )
        self.series_ok.set(1)


class RuleMetrics:
    """Evaluation, and the alerts that come of it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.evaluations = Counter(
            "tocsin_rule_group_evaluations_total", "Evaluations by rule group", ["rule_group"], registry=registry
        )
        self.evaluation_seconds = Histogram(
            "tocsin_rule_evaluation_duration_seconds", "Evaluating the groups that one poll concerns",
            buckets=_STEPS, registry=registry,
        )  # fmt: skip
        self.rule_problems = Gauge(
            "tocsin_rule_problems", "Rules whose last evaluation failed or passed its limit, by group",
            ["rule_group"], registry=registry,
        )  # fmt: skip
        self.alerts = Gauge(
            "tocsin_alerts", "Active alerts by state and severity", ["state", "severity"], registry=registry
        )
        self.frozen = Gauge("tocsin_alerts_frozen", "Alerts kept because an input is unknown", registry=registry)
        self.blind = Gauge(
            "tocsin_blind", "1 while a source can't be seen, with how many rules read it in `rules`",
            ["collector", "rules"], registry=registry,
        )  # fmt: skip
        self.blind_rule = Gauge(
            "tocsin_blind_rule", "1 for each rule that reads a source which can't be seen; 20 of a source at most",
            ["collector", "rule"], registry=registry,
        )  # fmt: skip


class AccessMetrics:
    """Who may come in."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # With a label, so that it is not there before it is known: a zero would be a change.
        self.audit_entries = Gauge(
            "tocsin_audit_entries", "Entries of an audit that is only ever added to; `of` is allowlist", ["of"],
            registry=registry,
        )  # fmt: skip


class IncidentMetrics:
    """What is decided, and what came of telling it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.incidents = Gauge("tocsin_incidents_open", "Open incidents by severity", ["severity"], registry=registry)
        self.decisions = Counter(
            "tocsin_decisions_total", "Decisions by action and reason", ["action", "reason"], registry=registry
        )
        self.account = Gauge(
            "tocsin_account", "Pairs of incident and destination, by what came of telling them", ["outcome"],
            registry=registry,
        )  # fmt: skip
        self.unaccounted = Gauge(
            "tocsin_account_unaccounted", "Of them: what came of telling them is not known", registry=registry
        )
        self.stage_seconds = Histogram(
            "tocsin_stage_duration_seconds",
            "From the poll that saw it to: decided, acknowledged by the destination; by severity",
            ["stage", "severity"], buckets=_STEPS, registry=registry,
        )  # fmt: skip


class DeliveryMetrics:
    """The outbox and its destinations."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.deliveries = Counter(
            "tocsin_deliveries_total",
            "Attempts to deliver by notifier and outcome: delivered, found, throttled, unavailable, uncertain, "
            "refused, failed_over, dead, from_memory",
            ["notifier", "outcome"], registry=registry,
        )  # fmt: skip
        self.delivery_seconds = Histogram(
            "tocsin_delivery_duration_seconds", "One attempt, by notifier", ["notifier"], buckets=_STEPS,
            registry=registry,
        )  # fmt: skip
        self.outbox = Gauge(
            "tocsin_outbox_pending", "Notifications that wait, by notifier", ["notifier"], registry=registry
        )
        self.outbox_age = Gauge(
            "tocsin_outbox_oldest_seconds", "Age of the oldest notification that is due, by notifier",
            ["notifier"], registry=registry,
        )  # fmt: skip
        self.dead_letters = Gauge(
            "tocsin_outbox_dead", "Notifications given up, by notifier", ["notifier"], registry=registry
        )
        self.notifier_ok = Gauge(
            "tocsin_notifier_up", "1 when the destination could take a message: channel, membership, scopes",
            ["notifier"], registry=registry,
        )  # fmt: skip


class ResponseMetrics:
    """How well people are told and can answer, over 7 days."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.response_incidents = Gauge(
            "tocsin_response_incidents", "Incidents that opened in the last 7 days, by severity", ["severity"],
            registry=registry,
        )  # fmt: skip
        self.response_acknowledge = Gauge(
            "tocsin_response_acknowledge_seconds",
            "From an incident's begin to the first who took it, of those of the last 7 days that somebody took",
            ["severity", "quantile"], registry=registry,
        )  # fmt: skip
        self.response_resolve = Gauge(
            "tocsin_response_resolve_seconds",
            "From an incident's begin to its end, of those of the last 7 days that have ended",
            ["severity", "quantile"], registry=registry,
        )  # fmt: skip
        self.response_sent = Gauge(
            "tocsin_response_sent_seconds",
            "From a decision to page to the destination's receipt, of the last 7 days",
            ["severity", "quantile"], registry=registry,
        )  # fmt: skip
        self.response_pages = Gauge(
            "tocsin_response_pages", "Messages that rang in the last 12 hours, by severity", ["severity"],
            registry=registry,
        )  # fmt: skip
        self.response_ratio = Gauge(
            "tocsin_response_ratio",
            "Over 7 days: precision (share of paged incidents that somebody took or closed), flaps (share of incidents "
            "that came back), folded (alerts for each first message)",
            ["figure"], registry=registry,
        )  # fmt: skip
        self.response_silenced = Gauge(
            "tocsin_response_silenced_seconds",
            "Silence debt: how long alerts that fire now have been hidden by a silence, in sum", registry=registry,
        )  # fmt: skip


class ReplicaMetrics:
    """The state store and who leads."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.state_errors = Counter(
            "tocsin_state_errors_total", "Writes the state store did not take (retried)", registry=registry
        )
        self.state_ok = Gauge(
            "tocsin_state_up", "1 when the last write to the state store went through", registry=registry
        )
        self.state_ok.set(1)
        self.leader = Gauge("tocsin_leader", "1 on the replica that decides and sends", registry=registry)
        self.leader_known = Gauge(
            "tocsin_leader_known", "1 while this replica knows of one that leads, itself included", registry=registry
        )
        self.leader_epoch = Gauge(
            "tocsin_leader_epoch", "Counts the leaders that there were, as this replica knows; 0 on SQLite",
            registry=registry,
        )  # fmt: skip
        self.takeovers = Counter(
            "tocsin_leader_takeovers_total", "How often this replica became the leader", registry=registry
        )
        self.replicas = Gauge("tocsin_replicas", "Daemons that share the state store", registry=registry)


class RemoteMetrics:
    """Remote write, and rules evaluated on another server."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.remote_pending = Gauge(
            "tocsin_remote_write_pending_samples", "Samples that wait for a destination or are on their way",
            ["destination"], registry=registry,
        )  # fmt: skip
        self.remote_bytes = Gauge(
            "tocsin_remote_write_queue_bytes", "What a destination's queue holds on disk and in memory",
            ["destination"], registry=registry,
        )  # fmt: skip
        self.remote_lag = Gauge(
            "tocsin_remote_write_lag_seconds", "Age of the oldest sample that a destination has not acknowledged",
            ["destination"], registry=registry,
        )  # fmt: skip
        self.remote_sent = Counter(
            "tocsin_remote_write_sent_samples_total", "Samples that a destination acknowledged", ["destination"],
            registry=registry,
        )  # fmt: skip
        self.remote_dropped = Counter(
            "tocsin_remote_write_dropped_samples_total",
            "Samples that a destination will not get, by reason: refused (by it), repeated (refused when sent again "
            "after an answer was lost: most likely it has them), over (the queue was full), disk, damaged",
            ["destination", "reason"], registry=registry,
        )  # fmt: skip
        self.remote_failed = Counter(
            "tocsin_remote_write_failed_requests_total",
            "Requests that got no acknowledgement and are sent again, by kind: network, timeout, throttled, http_5xx",
            ["destination", "kind"], registry=registry,
        )  # fmt: skip
        self.engine_ok = Gauge(
            "tocsin_engine_up", "1 when the server that evaluates the rules answered last time", ["engine"],
            registry=registry,
        )  # fmt: skip
        self.engine_seconds = Histogram(
            "tocsin_engine_query_duration_seconds", "One query to the server that evaluates the rules",
            buckets=_STEPS, registry=registry,
        )  # fmt: skip


class DaemonMetrics:
    """The program and its configuration."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.build_info = Gauge("tocsin_build_info", "1, with the version as a label", ["version"], registry=registry)
        self.config_ok = Gauge(
            "tocsin_config_last_reload_successful",
            "0 after a reload that kept the old configuration",
            registry=registry,
        )
        self.config_at = Gauge(
            "tocsin_config_last_reload_success_timestamp_seconds", "When the configuration in force was loaded",
            registry=registry,
        )  # fmt: skip
