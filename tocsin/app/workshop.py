"""Makes what the configuration names: sources, pollers, destinations, the rules with their alerts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tocsin.config import Config, load_config, rule_files
from tocsin.model import Alert, Labels, Metric
from tocsin.ports import CollectorContext, CollectorSettings, Notifier, NotifierContext, NotifierSettings
from tocsin.rules import Group, load_rules
from tocsin.runtime import plugins
from tocsin.runtime.clock import SteadyClock
from tocsin.runtime.courier import Endpoint
from tocsin.runtime.evaluation import RuleBook
from tocsin.runtime.heartbeat import Heartbeat, HeartbeatPlan
from tocsin.runtime.pipeline import Pipeline
from tocsin.runtime.polling import Poller
from tocsin.runtime.register import stored
from tocsin.runtime.sources import Source, new_source
from tocsin.series import Store
from tocsin.state import State
from tocsin.telemetry.metrics import Telemetry
from tocsin.telemetry.tracing import Tracing


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A configuration with its rules: read whole, or not at all."""

    config: Config
    groups: tuple[Group, ...]

    @classmethod
    def read(cls, path: Path, environ: Mapping[str, str]) -> Setup:
        """Raises InputError with every finding."""
        config = load_config(path, environ)
        config.require_secrets()
        return cls(config=config, groups=load_rules(rule_files(config)))

    def rule_book(self, alerts: Iterable[Alert]) -> RuleBook:
        """The rules, with these alerts."""
        return RuleBook(
            self.groups,
            alerts,
            external_labels=Labels(self.config.external_labels),
            external_url=self.config.external_url or "",
        )

    def declared(self, telemetry: Telemetry) -> list[Metric]:
        """Every metric that somebody declares: Tocsin itself and the configured kinds of collectors."""
        kinds = {settings.kind for settings in self.config.collectors}
        specs = [plugins.collectors().find(kind) for kind in sorted(kinds)]
        return [*telemetry.declarations(), *(metric for spec in specs for metric in spec.metrics)]


@dataclass(kw_only=True)
class Workshop:
    """What it makes works with these."""

    state: State
    store: Store
    clock: SteadyClock
    telemetry: Telemetry
    tracing: Tracing
    pipeline: Callable[[], Pipeline]
    endpoints: Callable[[], Iterable[Endpoint]]
    """Those in force."""
    poke: Callable[[str], None]
    """Poll the collector of that name soon."""
    permit: Callable[[], None]
    notifiers: dict[str, tuple[NotifierSettings, Notifier]] = field(default_factory=dict)
    """Those that were made last."""
    console_url: str = ""
    """What they were told to link to."""

    def source(self, setup: Setup, settings: CollectorSettings) -> Source:
        """Where a collector's polls come in."""
        declared = {name for metric in setup.declared(self.telemetry) for name in metric.series_names()}
        foreign = {
            name
            for group in setup.groups
            for rule in group.rules
            for name in rule.plan.reads or ()
            if name not in declared
        }
        spec, now = plugins.collectors().find(settings.kind), self.clock.now()
        source = new_source(settings, spec, foreign=frozenset(foreign), now=now)
        recorded = frozenset(name for group in setup.groups for name in group.yields)
        source.remember(stored(self.store, source.name, recorded, now))
        return source

    def sources(self, setup: Setup, heartbeat: Heartbeat | None) -> list[Source]:
        """Those of all collectors, and the heartbeat's."""
        sources = [self.source(setup, settings) for settings in setup.config.collectors]
        return [*sources, *([heartbeat.source()] if heartbeat is not None else [])]

    def poller(self, settings: CollectorSettings, folder: Path) -> Poller:
        """A collector with what polls it."""
        context = CollectorContext(
            checkpoint=self.state.checkpoint(settings.name),
            # The poller needs the collector and the collector its poke: it is looked up when it is used.
            poke=lambda: self.poke(settings.name),
            folder=folder,
        )
        collector = plugins.collectors().find(settings.kind).build(settings, context)
        return Poller(
            settings, collector, clock=self.clock, sink=self.pipeline().ingest, telemetry=self.telemetry,
            tracing=self.tracing,
        )  # fmt: skip

    def destinations(self, config: Config, heartbeat: Heartbeat | None) -> list[Endpoint]:
        """The notifiers; one whose settings, and the address of the console, did not change stays as it is."""
        context = NotifierContext(
            clock=self.clock, folder=config.folder, console_url=config.external_url or "", permit=self.permit
        )
        kept: dict[str, tuple[NotifierSettings, Notifier]] = {}
        moved, self.console_url = self.console_url != context.console_url, context.console_url
        for settings in config.notifiers:
            known = self.notifiers.get(settings.name)
            if known is None or known[0] != settings or moved:
                known = (settings, plugins.notifiers().find(settings.kind).build(settings, context))
            kept[settings.name] = known
        self.notifiers = kept
        canary = [heartbeat.endpoint()] if heartbeat is not None else []
        return canary + [
            Endpoint(
                name=name,
                notifier=notifier,
                deadline=settings.deadline,
                failover=settings.failover,
                edits=plugins.notifiers().find(settings.kind).edits,
            )
            for name, (settings, notifier) in kept.items()
        ]

    def heartbeat(self, config: Config) -> Heartbeat | None:
        """The dead man's switch, if it is configured."""
        keys = config.heartbeat
        if keys is None:
            return None
        return Heartbeat(
            HeartbeatPlan(
                url=keys.url.get_secret_value(), every=keys.every, within=keys.within, through=keys.through
            ),
            clock=self.clock, telemetry=self.telemetry, state=self.state, pipeline=self.pipeline,
            endpoints=self.endpoints,
        )  # fmt: skip
