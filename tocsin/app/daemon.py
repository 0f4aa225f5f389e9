"""One running Tocsin: start, run, reload, drain.

Start order: configuration and rules (nothing runs on a bad one), state, what was left open, delivery (which may have
rows waiting), polls, the HTTP port. Drain order is the other way round: polls end, what they brought is committed and
what is due is sent, then the doors close. Where other replicas wait, the lease is given back first.
"""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from tocsin import __version__
from tocsin.app.chores import Chores
from tocsin.app.replica import Replica
from tocsin.app.workshop import Setup, Workshop
from tocsin.config import Config, content_path, plan_of
from tocsin.errors import InputError, StateError
from tocsin.incidents import Book, Correction
from tocsin.ports import secret_text
from tocsin.runtime.canary import NAME as CANARY
from tocsin.runtime.canary import Canary
from tocsin.runtime.clock import SteadyClock
from tocsin.runtime.delivery import Delivery, Endpoint
from tocsin.runtime.ending import ended
from tocsin.runtime.head_start import HeadStart
from tocsin.runtime.health import watch_destinations
from tocsin.runtime.heartbeat import Heartbeat
from tocsin.runtime.inlets import Inlets
from tocsin.runtime.leadership import Leadership, Standing
from tocsin.runtime.ledger import Ledger
from tocsin.runtime.lifeboat import Lifeboat
from tocsin.runtime.memory import open_store
from tocsin.runtime.pipeline import Parts, Pipeline
from tocsin.runtime.polling import Poller
from tocsin.runtime.register import NAME as REGISTER
from tocsin.runtime.register import Register
from tocsin.runtime.remote import Remote
from tocsin.runtime.scheduler import Scheduler
from tocsin.runtime.sources import Source
from tocsin.runtime.watchdog import LoopWatchdog
from tocsin.series import Store
from tocsin.state import State
from tocsin.state.canary import forget_walks
from tocsin.state.engine import connect
from tocsin.state.inbox import Inbox
from tocsin.state.lease import Fence, Leases, Me
from tocsin.telemetry import logs
from tocsin.telemetry.logs import logger
from tocsin.telemetry.metrics import Telemetry
from tocsin.telemetry.tracing import Tracing
from tocsin.web.entrance import Entrance
from tocsin.web.inside import Inside
from tocsin.web.reading import Reader
from tocsin.web.server import Server, application, listen

DRAIN_SECONDS: Final = 10.0
"""How long what is due may take to be sent when the daemon ends."""
HANDOVER_SECONDS: Final = 1.0
"""And when another replica is there to send it: what is under way."""


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
    workshop: Workshop = field(init=False)
    leadership: Leadership = field(init=False)
    replica: Replica = field(init=False)
    chores: Chores = field(init=False)
    register: Register = field(init=False)
    heartbeat: Heartbeat | None = None
    address: str = ""
    """HOST:PORT, once it listens."""
    _pollers: dict[str, Poller] = field(default_factory=dict)
    _inlets: Inlets = field(default_factory=Inlets)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _draining: bool = False

    # Start -----------------------------------------------------------------------------------------------------------

    @classmethod
    async def start(cls, path: Path, environ: Mapping[str, str]) -> Daemon:
        """Everything but the loops. Raises InputError and StateError: nothing has begun then."""
        setup = Setup.read(path, environ)
        config = setup.config
        logs.set_up(level=config.telemetry.log_level, format=config.telemetry.log_format)
        state = await State.open(config.state_url)
        state.lock()
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
        self.leadership = leadership_of(config, self.state, self.telemetry)
        self.lifeboat = Lifeboat(
            clock=self.clock, telemetry=self.telemetry, endpoint=lambda name: self.delivery.endpoint(name),
            leadership=self.leadership,
        )  # fmt: skip
        self.head_start = HeadStart(self.clock)
        self.delivery = Delivery(
            self.state.outbox, clock=self.clock, telemetry=self.telemetry, tracing=self.tracing, heard=self._heard,
            known=self.lifeboat.known, permit=self.leadership.permit, page_gone=self.head_start.page_gone,
        )  # fmt: skip
        self.workshop = Workshop(
            state=self.state, store=self.store, clock=self.clock, telemetry=self.telemetry, tracing=self.tracing,
            pipeline=lambda: self.pipeline, endpoints=self.delivery.endpoints, poke=self._poke,
            permit=self.leadership.permit,
        )  # fmt: skip
        self.heartbeat = self.workshop.heartbeat(config)
        self.register = await Register.load(self.state.checkpoint(REGISTER))
        self.register.turn_to(config.collectors, self.clock.now())
        self.pipeline = Pipeline(
            Parts(
                store=self.store,
                ledger=Ledger(self.state, self.telemetry, wake=self.delivery.wake, overflow=self.lifeboat),
                clock=self.clock,
                telemetry=self.telemetry,
                tracing=self.tracing,
                ask=self.remote.ask if self.remote.engine is not None else None,
                head_start=self.head_start,
            ),
            book=Book(plan=plan_of(config)),
            rules=self.setup.rule_book(()),
            sources=self._sources(),
            leads=False,
            removed=self.register.removed,
        )
        self.pipeline.canary = self._canary()
        self.watchdog = LoopWatchdog(self.telemetry, environ=self.environ)
        self.chores = Chores(
            state=self.state, pipeline=self.pipeline, inbox=Inbox(self.state), clock=self.clock,
            telemetry=self.telemetry, history=lambda: self.setup.config.state.history,
            inlets=lambda: self._inlets.open,
        )  # fmt: skip
        self.scheduler = Scheduler(clock=self.clock, telemetry=self.telemetry, tick=self._tick)
        self.replica = Replica(
            leadership=self.leadership, state=self.state, clock=self.clock, pipeline=self.pipeline,
            delivery=self.delivery, lifeboat=self.lifeboat,
            rules_of=lambda alerts: self.setup.rule_book(alerts), endpoints=self._destinations,
            resumed=self._resumed, paused=self._paused,
        )  # fmt: skip
        await self.replica.begin()

    def _sources(self) -> list[Source]:
        sources = [self.workshop.source(self.setup, settings) for settings in self.setup.config.collectors]
        return [*sources, *([self.heartbeat.source()] if self.heartbeat is not None else [])]

    def _destinations(self) -> list[Endpoint]:
        return self.workshop.destinations(self.setup.config, self.heartbeat)

    def _canary(self) -> Canary | None:
        return None if self.heartbeat is None else self.heartbeat.canary

    async def _resumed(self) -> None:
        await forget_walks(self.state, CANARY)
        await self.register.save()
        if self.heartbeat is not None:
            self.heartbeat.start()

    async def _paused(self) -> None:
        if self.heartbeat is not None:
            await self.heartbeat.stop()

    def _poke(self, name: str) -> None:
        poller = self._pollers.get(name)
        if poller is not None:
            poller.poke()

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
        await self.replica.start(config.external_url or f"http://{self.address}")
        health = asyncio.ensure_future(
            watch_destinations(self.delivery.endpoints, clock=self.clock, telemetry=self.telemetry)
        )
        self.remote.start(self.pipeline)
        await self._inlets.replace(config.collectors, config.folder)
        self._pollers = {each.name: self.workshop.poller(each, config.folder) for each in config.collectors}
        if self.heartbeat is not None:
            self._pollers[CANARY] = self.heartbeat.poller(self.tracing)
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
            await ended(health)
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
            declared=lambda: self.setup.declared(self.telemetry),
            ready=self._not_ready,
            started=self.clock.now(),
            engine=lambda: self.remote.engine,
            entrance=self.entrance,
            address=lambda: self.setup.config.external_url or f"http://{self.address}",
            runbooks=lambda: content_path("runbooks", self.setup.config.folder),
            inlets=lambda: self._inlets.open,
            leader=lambda: self.replica.leader,
        )

    def _not_ready(self) -> str:
        if self._draining:
            return "draining"
        if self.pipeline.waits_for_first_polls:
            return "starting"
        if not self.telemetry.registry.get_sample_value("tocsin_pipeline_up"):
            return "failing"
        recorded = self.pipeline.is_recorded and self.leadership.standing is not Standing.CUT_OFF
        return "" if recorded else "degraded"

    async def _tick(self) -> None:
        self.telemetry.clock_skew.set(self.clock.skew())
        await self.chores.tick()

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
        before, self.setup, folder = self.setup, setup, setup.config.folder
        known = {settings.name: settings for settings in before.config.collectors}
        stays = {settings.name for settings in setup.config.collectors if known.get(settings.name) == settings}
        sources = [
            self.pipeline.sources[settings.name] if settings.name in stays else self.workshop.source(setup, settings)
            for settings in setup.config.collectors
        ]
        if setup.config.heartbeat == before.config.heartbeat:
            stays |= {CANARY}
            sources += [self.pipeline.sources[CANARY]] if self.heartbeat is not None else []
        else:
            sources += await self._replace_heartbeat(setup.config)
        await self.entrance.configure(setup.config)
        self.register.turn_to(setup.config.collectors, self.clock.now())
        await self.pipeline.reconfigure(setup.rule_book, sources, plan_of(setup.config), self.register.removed)
        await self.register.save()
        olds = dict(self.workshop.notifiers)
        await self.delivery.replace(self._destinations())
        # The old ones end before their successors begin: two readers of one checkpoint would count twice.
        gone = self.scheduler.replace([poller for name, poller in self._pollers.items() if name in stays])
        await asyncio.gather(*(poller.close() for poller in gone))
        canary = self._pollers.get(CANARY)
        self._pollers = {
            each.name: self._pollers[each.name] if each.name in stays else self.workshop.poller(each, folder)
            for each in setup.config.collectors
        }
        if self.heartbeat is not None:
            kept = canary if CANARY in stays else None
            self._pollers[CANARY] = kept or self.heartbeat.poller(self.tracing)
        self.scheduler.replace(self._pollers.values())
        await self._inlets.replace(setup.config.collectors, setup.config.folder, stays=stays)
        for name, (_, notifier) in olds.items():
            if self.workshop.notifiers.get(name, (None, None))[1] is not notifier:
                await notifier.close()
        self._reloaded()
        logger().info("config.reloaded", collectors=len(self._pollers), notifiers=len(self.workshop.notifiers))

    async def _replace_heartbeat(self, config: Config) -> list[Source]:
        if self.heartbeat is not None:
            await self.heartbeat.stop()
        self.heartbeat = self.workshop.heartbeat(config)
        self.pipeline.canary = self._canary()
        if self.heartbeat is None:
            return []
        if self.delivery.runs:
            self.heartbeat.start()
        return [self.heartbeat.source()]

    def _refuse_what_needs_a_restart(self, config: Config) -> None:
        now = self.setup.config
        for key, same in (
            (("state", "url"), config.state_url == now.state_url),
            (("state", "lease"), config.state.lease == now.state.lease),
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
        if self.leadership.others:
            # Another replica polls too and sends the rest: it need not wait for our last polls.
            await self.replica.stop(drain=HANDOVER_SECONDS)
        await self.scheduler.stop()
        await self.pipeline.tick()
        await self.remote.stop(drain=DRAIN_SECONDS / 2)
        await self.replica.stop(drain=DRAIN_SECONDS)
        await self.lifeboat.close()

    async def _close(self) -> None:
        await self._inlets.close()
        for _, notifier in self.workshop.notifiers.values():
            await notifier.close()
        await self.entrance.close()
        self.store.close()
        await self.state.close()
        self.tracing.close()
        logger().info("daemon.ended")


def leadership_of(config: Config, state: State, telemetry: Telemetry) -> Leadership:
    """Who leads is asked of Postgres; with SQLite's file this is the only daemon. From here on `state` is fenced."""
    if state.file is not None:
        return Leadership(telemetry=telemetry)
    lease = config.state.lease
    state.fence = Fence(idle=lease)
    me = Me(name=f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}")
    leases = Leases(connect(config.state_url, patience=max(1.0, lease / 2), most=1), lease)
    return Leadership(telemetry=telemetry, leases=leases, me=me, seconds=lease)


async def serve(path: Path, environ: Mapping[str, str]) -> None:
    """`tocsin run`. Raises InputError and StateError."""
    daemon = await Daemon.start(path, environ)
    await daemon.run()
