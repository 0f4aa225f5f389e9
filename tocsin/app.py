"""The daemon: puts the parts together; start, reload, drain.

    daemon = await Daemon.start(Path("config.yaml"), os.environ)
    await daemon.run()              # until SIGTERM or SIGINT; SIGHUP reloads

Start order: configuration and rules (nothing runs on a bad one), state, what was left open, delivery (which may have
rows waiting), polls, the HTTP port. Drain order is the other way round: polls end, what they brought is committed and
what is due is sent, then the doors close.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import orjson

from tocsin import __version__
from tocsin.config import Config, content_path, load_config, plan_of, rule_files
from tocsin.errors import InputError, StateError
from tocsin.incidents import Correction, restore
from tocsin.model import METRIC_NAME, Alert, Labels, Matcher, MatchOp, Metric
from tocsin.ports import CollectorContext, CollectorSettings, Notifier, NotifierContext, NotifierSettings, secret_text
from tocsin.rules import Group, load_rules
from tocsin.runtime import plugins
from tocsin.runtime.canary import NAME as CANARY
from tocsin.runtime.canary import Canary
from tocsin.runtime.clock import SteadyClock
from tocsin.runtime.delivery import Delivery, Endpoint
from tocsin.runtime.evaluation import RuleBook
from tocsin.runtime.external import ExternalAlerts
from tocsin.runtime.health import watch_destinations
from tocsin.runtime.heartbeat import Heartbeat, HeartbeatPlan
from tocsin.runtime.inlets import Inlets
from tocsin.runtime.ledger import Ledger
from tocsin.runtime.lifeboat import Lifeboat
from tocsin.runtime.memory import open_store
from tocsin.runtime.pipeline import Parts, Pipeline
from tocsin.runtime.polling import Poller
from tocsin.runtime.remote import Remote
from tocsin.runtime.response import RESPONSE_EVERY, measure_response
from tocsin.runtime.scheduler import Scheduler
from tocsin.runtime.sources import Source, new_source
from tocsin.runtime.watchdog import LoopWatchdog
from tocsin.series import Store
from tocsin.state import State
from tocsin.state.account import UNACCOUNTED, balance
from tocsin.state.canary import forget_walks
from tocsin.state.inbox import Inbox
from tocsin.telemetry import logs
from tocsin.telemetry.logs import logger
from tocsin.telemetry.metrics import Telemetry
from tocsin.telemetry.tracing import Tracing
from tocsin.web.entrance import Entrance
from tocsin.web.inside import Inside
from tocsin.web.reading import Reader
from tocsin.web.server import Server, application, listen

LOOKBACK: Final = timedelta(minutes=5)
"""How long PromQL believes a sample that no newer one follows."""
OUTBOX_EVERY: Final = 5
ACCOUNT_EVERY: Final = 60
"""Ticks between two looks at what waits in the outbox, for the gauges."""
DRAIN_SECONDS: Final = 10.0
"""How long what is due may take to be sent when the daemon ends."""


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


@dataclass
class Daemon:
    """One running Tocsin."""

    path: Path
    environ: Mapping[str, str]
    setup: Setup
    state: State
    clock: SteadyClock
    telemetry: Telemetry
    tracing: Tracing
    store: Store = field(init=False)
    remote: Remote = field(init=False)
    pipeline: Pipeline = field(init=False)
    delivery: Delivery = field(init=False)
    lifeboat: Lifeboat = field(init=False)
    scheduler: Scheduler = field(init=False)
    entrance: Entrance = field(init=False)
    watchdog: LoopWatchdog = field(init=False)
    heartbeat: Heartbeat | None = None
    address: str = ""
    """HOST:PORT, once it listens."""
    _pollers: dict[str, Poller] = field(default_factory=dict)
    _notifiers: dict[str, tuple[NotifierSettings, Notifier]] = field(default_factory=dict)
    _inlets: Inlets = field(default_factory=Inlets)
    _inbox: Inbox = field(init=False)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _draining: bool = False
    _ticks: int = 0
    _state_seen: int = 0

    # Start -----------------------------------------------------------------------------------------------------------

    @classmethod
    async def start(cls, path: Path, environ: Mapping[str, str]) -> Daemon:
        """Everything but the loops. Raises InputError and StateError: nothing has begun then."""
        setup = Setup.read(path, environ)
        config = setup.config
        logs.set_up(level=config.telemetry.log_level, format=config.telemetry.log_format)
        state = await State.open(config.state_url)
        headers = {name: secret_text(value) for name, value in config.telemetry.otlp_headers.items()}
        tracing = Tracing(config.telemetry.otlp_endpoint or "", headers=headers, version=__version__)
        telemetry = Telemetry()
        telemetry.build_info.labels(__version__).set(1)
        daemon = cls(
            path=path, environ=environ, setup=setup, state=state, clock=SteadyClock(), telemetry=telemetry,
            tracing=tracing,
        )  # fmt: skip
        try:
            await daemon._restore()
        except BaseException:
            await state.close()
            raise
        return daemon

    async def _restore(self) -> None:
        config = self.setup.config
        self.store = open_store(
            config.series_path, self.clock, retention=config.series.retention, max_bytes=config.series.max_bytes,
            max_series=config.series.max_series,
        )  # fmt: skip
        self.remote = Remote.of(config, self.store, self.clock, self.telemetry)
        now = self.clock.now()
        self.lifeboat = Lifeboat(
            clock=self.clock, telemetry=self.telemetry, endpoint=lambda name: self.delivery.endpoint(name)
        )
        self.delivery = Delivery(
            self.state.outbox,
            clock=self.clock,
            telemetry=self.telemetry,
            tracing=self.tracing,
            heard=self._heard,
            known=self.lifeboat.known,
        )
        in_doubt = await self.state.take_over(self.delivery.owner)
        restored = await self.state.load(now)
        sent = [alert for alert in restored.alerts if ExternalAlerts.owns(alert)]
        rules = self._rule_book(self.setup, (alert for alert in restored.alerts if not ExternalAlerts.owns(alert)))
        self.heartbeat = self._heartbeat_of(config)
        sources = [self._source(settings) for settings in config.collectors]
        recorded = {name for group in self.setup.groups for name in group.yields}
        for source in sources:
            job = Matcher(name="job", op=MatchOp.EQUAL, value=source.name)
            stored = self.store.series([job], after=now - LOOKBACK)
            source.remember(labels for labels in stored if labels[METRIC_NAME] not in recorded)
        if self.heartbeat is not None:
            sources.append(self.heartbeat.source())
        self.pipeline = Pipeline(
            Parts(
                store=self.store,
                ledger=Ledger(self.state, self.telemetry, wake=self.delivery.wake, overflow=self.lifeboat),
                clock=self.clock,
                telemetry=self.telemetry,
                tracing=self.tracing,
                ask=self.remote.ask if self.remote.engine is not None else None,
            ),
            book=restore(plan_of(config), restored.files, restored.silences, now, restored.storms),
            rules=rules,
            sources=sources,
            external=ExternalAlerts(sent, now),
        )
        self.pipeline.canary = self._canary()
        self._inbox = Inbox(self.state)
        self.watchdog = LoopWatchdog(self.telemetry, environ=self.environ)
        await forget_walks(self.state, CANARY)
        self.scheduler = Scheduler(clock=self.clock, telemetry=self.telemetry, tick=self._tick)
        logger().info(
            "daemon.restored", alerts=len(restored.alerts), incidents=len(restored.files),
            silences=len(restored.silences), in_doubt=in_doubt,
        )  # fmt: skip

    def _heartbeat_of(self, config: Config) -> Heartbeat | None:
        keys = config.heartbeat
        if keys is None:
            return None
        return Heartbeat(
            HeartbeatPlan(
                url=keys.url.get_secret_value(), every=keys.every, within=keys.within, through=keys.through
            ),
            clock=self.clock, telemetry=self.telemetry, state=self.state, pipeline=lambda: self.pipeline,
            endpoints=lambda: self.delivery.endpoints(),
        )  # fmt: skip

    def _canary(self) -> Canary | None:
        return None if self.heartbeat is None else self.heartbeat.canary

    def _rule_book(self, setup: Setup, alerts: Iterable[Alert]) -> RuleBook:
        return RuleBook(
            setup.groups,
            alerts,
            external_labels=Labels(setup.config.external_labels),
            external_url=setup.config.external_url or "",
        )

    def _source(self, settings: CollectorSettings) -> Source:
        declared = {name for metric in self.declared() for name in metric.series_names()}
        foreign = {
            name
            for group in self.setup.groups
            for rule in group.rules
            for name in rule.plan.reads or ()
            if name not in declared
        }
        spec = plugins.collectors().find(settings.kind)
        return new_source(settings, spec, foreign=frozenset(foreign), now=self.clock.now())

    def _poller(self, settings: CollectorSettings) -> Poller:
        context = CollectorContext(
            checkpoint=self.state.checkpoint(settings.name),
            # The poller needs the collector and the collector its poke: it is looked up when it is used.
            poke=lambda: self._poke(settings.name),
            folder=self.setup.config.folder,
        )
        collector = plugins.collectors().find(settings.kind).build(settings, context)
        return Poller(
            settings, collector, clock=self.clock, sink=self.pipeline.ingest, telemetry=self.telemetry,
            tracing=self.tracing,
        )  # fmt: skip

    def _poke(self, name: str) -> None:
        poller = self._pollers.get(name)
        if poller is not None:
            poller.poke()

    def _endpoints(self, config: Config) -> list[Endpoint]:
        """The notifiers in force; one whose settings did not change stays as it is."""
        context = NotifierContext(clock=self.clock, folder=config.folder, console_url=config.external_url or "")
        kept: dict[str, tuple[NotifierSettings, Notifier]] = {}
        for settings in config.notifiers:
            known = self._notifiers.get(settings.name)
            if known is None or known[0] != settings:
                known = (settings, plugins.notifiers().find(settings.kind).build(settings, context))
            kept[settings.name] = known
        self._notifiers = kept
        canary = [self.heartbeat.endpoint()] if self.heartbeat is not None else []
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

    # Run -------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until told to end. Drains before it returns."""
        config = self.setup.config
        bound = listen(*config.web.address)
        host, port = bound.getsockname()[:2]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        loop.add_signal_handler(signal.SIGINT, self._stop.set)
        reloads: set[asyncio.Task[None]] = set()

        def reload() -> None:
            task = loop.create_task(self.reload(), name="reload")
            reloads.add(task)
            task.add_done_callback(reloads.discard)

        loop.add_signal_handler(signal.SIGHUP, reload)
        reader = Reader(self.pipeline.reading, self.clock)
        self.entrance = await Entrance.of(config, self.state, self.clock)
        self.entrance.address = self.address
        server = Server(application(self._inside(reader)), bound)
        serving = asyncio.ensure_future(server.run_on_loop())
        self.delivery.start(self._endpoints(config))
        health = asyncio.ensure_future(
            watch_destinations(self.delivery.endpoints, clock=self.clock, telemetry=self.telemetry)
        )
        await self.pipeline.begin()
        self.remote.start(self.pipeline)
        await self._inlets.replace(config.collectors, config.folder)
        self._pollers = {settings.name: self._poller(settings) for settings in config.collectors}
        if self.heartbeat is not None:
            self._pollers[CANARY] = self.heartbeat.poller(self.tracing)
            self.heartbeat.start()
        self.scheduler.start(self._pollers.values())
        self.watchdog.start()
        self._reloaded()
        self._announce(config)
        await self._show_the_way_in(config)
        # What start-up has made lives as long as the daemon; later collections need not look at it again.
        gc.collect()
        gc.freeze()
        try:
            await self._until_told_or_broken(serving)
        finally:
            health.cancel()
            self.watchdog.stop()
            await self._drain()
            reader.close()
            server.should_exit = True
            await serving
            await self._close()

    async def _until_told_or_broken(self, serving: asyncio.Future[None]) -> None:
        stopped = asyncio.ensure_future(self._stop.wait())
        waits: tuple[asyncio.Future[Any], ...] = (stopped, serving)
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if serving in done and serving.exception() is not None:
            logger().error("web.failed", exc_info=serving.exception())

    def _announce(self, config: Config) -> None:
        # One line on standard output for whoever started us with port 0; logs go to standard error.
        line = {"event": "web.listening", "address": self.address, "pid": os.getpid()}
        print(orjson.dumps(line).decode(), flush=True)  # noqa: T201
        logger().info(
            "daemon.started", version=__version__, address=self.address, collectors=len(config.collectors),
            rule_groups=len(self.setup.groups), rules=sum(len(group.rules) for group in self.setup.groups),
            notifiers=len(config.notifiers), config=str(config.file),
        )  # fmt: skip
        for warning in config.warnings:
            logger().warning("config.warning", what=str(warning))

    async def _show_the_way_in(self, config: Config) -> None:
        try:
            link = await self.entrance.one_time_link()
        except StateError as error:
            logger().warning("console.no_link", why=str(error), mend="start the daemon again for a link")
            return
        if link:
            # Printed and not logged: logs are shipped elsewhere, and whoever opens it first is an admin.
            line = {"event": "console.link", "url": link, "valid_for": "1h, once, on this machine"}
            print(orjson.dumps(line).decode(), flush=True)  # noqa: T201
        elif config.web.supabase is None:
            logger().warning("console.closed", why="no web.supabase, and web.listen is not loopback's")

    def _inside(self, reader: Reader) -> Inside:
        return Inside(
            clock=self.clock,
            telemetry=self.telemetry,
            pipeline=self.pipeline,
            state=self.state,
            reader=reader,
            declared=self.declared,
            ready=self._not_ready,
            started=self.clock.now(),
            engine=lambda: self.remote.engine,
            entrance=self.entrance,
            address=lambda: self.setup.config.external_url or f"http://{self.address}",
            runbooks=lambda: content_path("runbooks", self.setup.config.folder),
            inlets=lambda: self._inlets.open,
        )

    def declared(self) -> list[Metric]:
        """Every metric that somebody declares: Tocsin itself and the configured kinds of collectors."""
        kinds = {settings.kind for settings in self.setup.config.collectors}
        specs = [plugins.collectors().find(kind) for kind in sorted(kinds)]
        return [*self.telemetry.declarations(), *(metric for spec in specs for metric in spec.metrics)]

    def _not_ready(self) -> str:
        if self._draining:
            return "draining"
        if self.pipeline.waits_for_first_polls:
            return "starting"
        if not self.telemetry.registry.get_sample_value("tocsin_pipeline_up"):
            return "failing"
        return "" if self.pipeline.is_recorded else "degraded"

    async def _tick(self) -> None:
        self.telemetry.clock_skew.set(self.clock.skew())
        await self.pipeline.tick()
        self._ticks += 1
        try:
            if self._may_have_been_asked():
                await self._inbox.serve(self.pipeline.act, self.clock.now())
            if self._ticks % OUTBOX_EVERY == 0:
                await self._measure_outbox()
            if self._ticks % ACCOUNT_EVERY == OUTBOX_EVERY:
                await self._measure_account()
            if self._ticks % RESPONSE_EVERY == OUTBOX_EVERY:
                await measure_response(self.state, self.pipeline.book, self.telemetry, self.clock.now())
        except StateError as error:
            logger().warning("state.not_asked", error=str(error))

    def _may_have_been_asked(self) -> bool:
        """False when nobody has written to SQLite's files since the last look: idle, a look costs one stat."""
        if (file := self.state.file) is None:
            return True
        seen, self._state_seen = self._state_seen, _touched(file.with_name(file.name + "-wal"))
        return seen != self._state_seen or not seen

    async def _measure_outbox(self) -> None:
        for entry in await self.state.outbox.waiting(self.clock.now()):
            oldest = (self.clock.now() - entry.oldest).total_seconds() if entry.oldest is not None else 0.0
            self.telemetry.outbox.labels(entry.notifier).set(entry.count)
            self.telemetry.outbox_age.labels(entry.notifier).set(max(0.0, oldest))
            self.telemetry.dead_letters.labels(entry.notifier).set(entry.dead)

    async def _measure_account(self) -> None:
        account = await balance(self.state, self.clock.now())
        self.telemetry.account.clear()
        for outcome, pairs in account.outcomes.items():
            self.telemetry.account.labels(outcome).set(pairs)
        self.telemetry.unaccounted.set(account.outcomes.get(UNACCOUNTED, 0))
        if not account.balances:
            logger().error("account.unbalanced", account=account.text(), lost=[f"{i} at {n}" for i, n in account.lost])

    async def _heard(self, correction: Correction) -> None:
        await self.pipeline.hear(correction)

    # Reload ----------------------------------------------------------------------------------------------------------

    async def reload(self) -> None:
        """Read the configuration again. A bad one changes nothing, and the log says what is wrong with it."""
        try:
            setup = Setup.read(self.path, self.environ)
            self._refuse_what_needs_a_restart(setup.config)
        except InputError as error:
            self.telemetry.config_ok.set(0)
            for finding in error.findings:
                logger().error("config.refused", what=str(finding))
            logger().error("config.kept", why=f"{len(error.findings)} findings; what ran before goes on")
            return
        before, self.setup = self.setup, setup
        known = {settings.name: settings for settings in before.config.collectors}
        stays = {settings.name for settings in setup.config.collectors if known.get(settings.name) == settings}
        sources = [
            self.pipeline.sources[settings.name] if settings.name in stays else self._source(settings)
            for settings in setup.config.collectors
        ]
        if setup.config.heartbeat == before.config.heartbeat:
            stays |= {CANARY}
            sources += [self.pipeline.sources[CANARY]] if self.heartbeat is not None else []
        else:
            sources += await self._replace_heartbeat(setup.config)
        await self.entrance.configure(setup.config)
        await self.pipeline.reconfigure(lambda alerts: self._rule_book(setup, alerts), sources, plan_of(setup.config))
        olds = dict(self._notifiers)
        await self.delivery.replace(self._endpoints(setup.config))
        # The old ones end before their successors begin: two readers of one checkpoint would count twice.
        gone = self.scheduler.replace([poller for name, poller in self._pollers.items() if name in stays])
        await asyncio.gather(*(poller.close() for poller in gone))
        canary = self._pollers.get(CANARY)
        self._pollers = {
            settings.name: self._pollers[settings.name] if settings.name in stays else self._poller(settings)
            for settings in setup.config.collectors
        }
        if self.heartbeat is not None:
            kept = canary if CANARY in stays else None
            self._pollers[CANARY] = kept or self.heartbeat.poller(self.tracing)
        self.scheduler.replace(self._pollers.values())
        await self._inlets.replace(setup.config.collectors, setup.config.folder, stays=stays)
        for name, (_, notifier) in olds.items():
            if self._notifiers.get(name, (None, None))[1] is not notifier:
                await notifier.close()
        self._reloaded()
        logger().info("config.reloaded", collectors=len(self._pollers), notifiers=len(self._notifiers))

    async def _replace_heartbeat(self, config: Config) -> list[Source]:
        if self.heartbeat is not None:
            await self.heartbeat.stop()
        self.heartbeat = self._heartbeat_of(config)
        self.pipeline.canary = self._canary()
        if self.heartbeat is None:
            return []
        self.heartbeat.start()
        return [self.heartbeat.source()]

    def _refuse_what_needs_a_restart(self, config: Config) -> None:
        now = self.setup.config
        for key, same in (
            (("state", "url"), config.state_url == now.state_url),
            (("web", "listen"), config.web.listen == now.web.listen),
            (("web", "session", "key"), config.web.session.key == now.web.session.key),
            (("series",), config.series == now.series),
        ):
            if not same:
                what = f"{'.'.join(key)} can't change while the daemon runs"
                raise InputError(config.finding(key, what, "restart it: systemctl restart tocsin"))

    def _reloaded(self) -> None:
        self.telemetry.config_ok.set(1)
        self.telemetry.config_at.set(self.clock.now().timestamp())

    # End -------------------------------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        self._draining = True
        logger().info("daemon.draining")
        if self.heartbeat is not None:
            await self.heartbeat.stop()
        await self.scheduler.stop()
        await self.pipeline.tick()
        await self.remote.stop(drain=DRAIN_SECONDS / 2)
        await self.delivery.stop(drain=DRAIN_SECONDS)
        await self.lifeboat.close()

    async def _close(self) -> None:
        await self._inlets.close()
        for _, notifier in self._notifiers.values():
            await notifier.close()
        await self.entrance.close()
        self.store.close()
        await self.state.close()
        self.tracing.close()
        logger().info("daemon.ended")


async def serve(path: Path, environ: Mapping[str, str]) -> None:
    """`tocsin run`. Raises InputError and StateError."""
    daemon = await Daemon.start(path, environ)
    await daemon.run()


def _touched(file: Path) -> int:
    """When the file was written last, in nanoseconds; 0 where there is none."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0
