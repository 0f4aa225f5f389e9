"""One running Tocsin: start, run, reload, drain.

Start order: configuration and rules (nothing runs on a bad one), state, what was left open, delivery (which may have
rows waiting), polls, the HTTP port. Drain order is the other way round: polls end, what they brought is committed and
what is due is sent, then the doors close. Where other replicas wait, the lease is given back first.
"""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tocsin import __version__
from tocsin.app.chores import Chores
from tocsin.app.in_force import InForce, canary_of
from tocsin.app.replica import Replica, leadership_of
from tocsin.app.welcome import announce, show_the_way_in
from tocsin.app.workshop import Setup, Workshop
from tocsin.config import content_path, plan_of
from tocsin.incidents import Book, Correction
from tocsin.ports import secret_text
from tocsin.runtime.clock import SteadyClock
from tocsin.runtime.delivery import Delivery
from tocsin.runtime.ending import ended
from tocsin.runtime.head_start import HeadStart
from tocsin.runtime.health import watch_destinations
from tocsin.runtime.inlets import Inlets
from tocsin.runtime.leadership import Leadership, Standing
from tocsin.runtime.leaving import Leaving
from tocsin.runtime.ledger import Ledger
from tocsin.runtime.lifeboat import Lifeboat
from tocsin.runtime.memory import open_store
from tocsin.runtime.pipeline import Parts, Pipeline
from tocsin.runtime.register import NAME as REGISTER
from tocsin.runtime.register import Register
from tocsin.runtime.remote import Remote
from tocsin.runtime.scheduler import Scheduler
from tocsin.runtime.watchdog import LoopWatchdog
from tocsin.series import Store
from tocsin.state import State
from tocsin.state.inbox import Inbox
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
DRAIN_LIMIT: Final = 26.0
"""For polls, remote write and messages together; each has its own limit, and a store that hangs could add up."""
CLOSE_LIMIT: Final = 1.5
"""For what is closed then, each."""


@dataclass
class Daemon:
    """One running Tocsin."""

    path: Path
    environ: Mapping[str, str]
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
    in_force: InForce = field(init=False)
    leadership: Leadership = field(init=False)
    replica: Replica = field(init=False)
    chores: Chores = field(init=False)
    address: str = ""
    """HOST:PORT, once it listens."""
    _inlets: Inlets = field(default_factory=Inlets)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _leaving: Leaving = field(default_factory=Leaving)
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
        daemon = cls(path=path, environ=environ, state=state, clock=SteadyClock(), telemetry=telemetry, tracing=tracing)
        try:
            await daemon._restore(setup)
        except BaseException:
            await state.close()
            raise
        return daemon

    async def _restore(self, setup: Setup) -> None:
        config = setup.config
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
        head_start = HeadStart(self.clock)
        self.delivery = Delivery(
            self.state.outbox, clock=self.clock, telemetry=self.telemetry, tracing=self.tracing, heard=self._heard,
            known=self.lifeboat.known, permit=self.leadership.permit, page_gone=head_start.page_gone,
        )  # fmt: skip
        self.workshop = Workshop(
            state=self.state, store=self.store, clock=self.clock, telemetry=self.telemetry, tracing=self.tracing,
            pipeline=lambda: self.pipeline, endpoints=self.delivery.endpoints,
            poke=lambda name: self.in_force.poke(name), permit=self.leadership.permit,
        )  # fmt: skip
        await self._put_in_force(setup, head_start)
        self.watchdog = LoopWatchdog(self.telemetry, environ=self.environ)
        self.chores = Chores(
            state=self.state, pipeline=self.pipeline, inbox=Inbox(self.state), clock=self.clock,
            telemetry=self.telemetry, history=lambda: self.in_force.setup.config.state.history,
            inlets=lambda: self._inlets.open,
        )  # fmt: skip
        self.replica = Replica(
            leadership=self.leadership, state=self.state, clock=self.clock, pipeline=self.pipeline,
            delivery=self.delivery, lifeboat=self.lifeboat,
            rules_of=lambda alerts: self.in_force.setup.rule_book(alerts), endpoints=self.in_force.destinations,
            resumed=self.in_force.resumed, paused=self.in_force.paused,
        )  # fmt: skip
        await self.replica.begin()

    async def _put_in_force(self, setup: Setup, head_start: HeadStart) -> None:
        config = setup.config
        heartbeat = self.workshop.heartbeat(config)
        register = await Register.load(self.state.checkpoint(REGISTER))
        register.turn_to(config.collectors, self.clock.now())
        self.pipeline = Pipeline(
            Parts(
                store=self.store,
                ledger=Ledger(self.state, self.telemetry, wake=self.delivery.wake, overflow=self.lifeboat),
                clock=self.clock,
                telemetry=self.telemetry,
                tracing=self.tracing,
                ask=self.remote.ask if self.remote.engine is not None else None,
                head_start=head_start,
            ),
            book=Book(plan=plan_of(config)),
            rules=setup.rule_book(()),
            sources=self.workshop.sources(setup, heartbeat),
            leads=False,
            removed=register.removed,
        )
        self.pipeline.canary = canary_of(heartbeat)
        self.scheduler = Scheduler(clock=self.clock, telemetry=self.telemetry, tick=self._tick)
        self.in_force = InForce(
            setup=setup, workshop=self.workshop, state=self.state, clock=self.clock, telemetry=self.telemetry,
            tracing=self.tracing, register=register, pipeline=self.pipeline, delivery=self.delivery,
            scheduler=self.scheduler, inlets=self._inlets, entrance=lambda: self.entrance, heartbeat=heartbeat,
        )  # fmt: skip

    # Run -------------------------------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Until told to end. Drains before it returns the process' exit code."""
        config = self.in_force.setup.config
        bound = listen(*config.web.address)
        host, port = bound.getsockname()[:2]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        loop = asyncio.get_running_loop()
        self._leaving.listen(self._stop.set)
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
        await self.in_force.start()
        self.watchdog.start()
        announce(self.in_force.setup, self.address)
        await show_the_way_in(self.entrance, config)
        # What start-up has made lives as long as the daemon; later collections need not look at it again.
        gc.collect()
        gc.freeze()
        try:
            await self._until_told_or_broken(serving)
        finally:
            self._leaving.begin()
            await ended(health)
            self.watchdog.stop()
            await self._leaving.part("drain", DRAIN_LIMIT, self._drain())
            reader.close()
            server.should_exit = True
            await self._leaving.part("web", server.patience, serving)
            await self._close()
            self._leaving.done()
        return self._leaving.code

    async def _until_told_or_broken(self, serving: asyncio.Future[None]) -> None:
        stopped = asyncio.ensure_future(self._stop.wait())
        waits: tuple[asyncio.Future[Any], ...] = (stopped, serving)
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if serving in done and serving.exception() is not None:
            logger().error("web.failed", exc_info=serving.exception())

    def _inside(self, reader: Reader) -> Inside:
        return Inside(
            clock=self.clock,
            telemetry=self.telemetry,
            pipeline=self.pipeline,
            state=self.state,
            reader=reader,
            declared=lambda: self.in_force.setup.declared(self.telemetry),
            ready=self._not_ready,
            started=self.clock.now(),
            engine=lambda: self.remote.engine,
            entrance=self.entrance,
            address=lambda: self.in_force.setup.config.external_url or f"http://{self.address}",
            runbooks=lambda: content_path("runbooks", self.in_force.setup.config.folder),
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

    async def reload(self) -> None:
        """Read the configuration again. A bad one changes nothing, and the log says what is wrong with it."""
        await self.in_force.reload(lambda: Setup.read(self.path, self.environ))

    # End -------------------------------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        self._draining = True
        logger().info("daemon.draining")
        await self.in_force.paused()
        if self.leadership.others:
            # Another replica polls too and sends the rest: it need not wait for our last polls.
            await self.replica.stop(drain=HANDOVER_SECONDS)
        await self.scheduler.stop()
        await self.pipeline.tick()
        await self.remote.stop(drain=DRAIN_SECONDS / 2)
        await self.replica.stop(drain=DRAIN_SECONDS)
        await self.lifeboat.close()

    async def _close(self) -> None:
        part = self._leaving.part
        closes = {"inlets": self._inlets.close(), "sign-in": self.entrance.close()}
        closes |= {f"notifier {name}": notifier.close() for name, (_, notifier) in self.workshop.notifiers.items()}
        await asyncio.gather(*(part(what, CLOSE_LIMIT, close) for what, close in closes.items()))
        self.store.close()
        await part("state", CLOSE_LIMIT, self.state.close())
        self.tracing.close()
        logger().info("daemon.ended", code=self._leaving.code)


async def serve(path: Path, environ: Mapping[str, str]) -> int:
    """`tocsin run`: its exit code. Raises InputError and StateError."""
    daemon = await Daemon.start(path, environ)
    return await daemon.run()
