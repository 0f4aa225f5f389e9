"""What the configuration in force has made, and how a new one takes its place: a reload.

A reload is read whole or not at all. What has the same settings as before stays as it is: a collector keeps its poller
and what it has seen, a notifier its connection. Some keys need a restart, and a reload that changes one is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container
from dataclasses import dataclass, field

from tocsin.app.workshop import Setup, Workshop
from tocsin.config import Config, plan_of
from tocsin.errors import InputError
from tocsin.runtime.canary import NAME as CANARY
from tocsin.runtime.canary import Canary
from tocsin.runtime.clock import SteadyClock
from tocsin.runtime.delivery import Delivery, Endpoint
from tocsin.runtime.ending import closed
from tocsin.runtime.heartbeat import Heartbeat
from tocsin.runtime.inlets import Inlets
from tocsin.runtime.pipeline import Pipeline
from tocsin.runtime.polling import Poller
from tocsin.runtime.register import Register
from tocsin.runtime.scheduler import Scheduler
from tocsin.runtime.sources import Source
from tocsin.state import State
from tocsin.state.canary import forget_walks
from tocsin.telemetry.logs import logger
from tocsin.telemetry.metrics import Telemetry
from tocsin.telemetry.tracing import Tracing
from tocsin.web.entrance import Entrance


@dataclass(kw_only=True)
class InForce:
    """What `setup` names, at work. All on one event loop."""

    setup: Setup
    workshop: Workshop
    state: State
    clock: SteadyClock
    telemetry: Telemetry
    tracing: Tracing
    register: Register
    pipeline: Pipeline
    delivery: Delivery
    scheduler: Scheduler
    inlets: Inlets
    entrance: Callable[[], Entrance]
    heartbeat: Heartbeat | None
    _pollers: dict[str, Poller] = field(default_factory=dict)

    async def start(self) -> None:
        """Open the inlets and begin to poll."""
        config = self.setup.config
        await self.inlets.replace(config.collectors, config.folder)
        self._pollers = self._pollers_of(config, stays=())
        self.scheduler.start(self._pollers.values())
        self._holds()

    def destinations(self) -> list[Endpoint]:
        """Where its messages go."""
        return self.workshop.destinations(self.setup.config, self.heartbeat)

    def poke(self, name: str) -> None:
        """Poll the collector of that name soon."""
        poller = self._pollers.get(name)
        if poller is not None:
            poller.poke()

    async def resumed(self) -> None:
        """This replica may send from now on."""
        await forget_walks(self.state, CANARY)
        await self.register.save()
        if self.heartbeat is not None:
            self.heartbeat.start()

    async def paused(self) -> None:
        """It may send no longer."""
        if self.heartbeat is not None:
            await self.heartbeat.stop()

    # Reload ----------------------------------------------------------------------------------------------------------

    async def reload(self, read: Callable[[], Setup]) -> None:
        """Turn to what is read. What can't be read changes nothing, and the log says what is wrong with it."""
        try:
            setup = read()
            refuse_what_needs_a_restart(self.setup.config, setup.config)
        except InputError as error:
            self.telemetry.config_ok.set(0)
            for finding in error.findings:
                logger().error("config.refused", what=str(finding))
            logger().error("config.kept", why=f"{len(error.findings)} findings; what ran before goes on")
            return
        stays = await self._turn_to(setup)
        olds = dict(self.workshop.notifiers)
        await self.delivery.replace(self.destinations())
        await self._replace_pollers(setup.config, stays)
        await self.inlets.replace(setup.config.collectors, setup.config.folder, stays=stays)
        for name, (_, notifier) in olds.items():
            if self.workshop.notifiers.get(name, (None, None))[1] is not notifier:
                await closed("notifier.close_failed", notifier.close(), notifier=name)
        self._holds()
        logger().info("config.reloaded", collectors=len(self._pollers), notifiers=len(self.workshop.notifiers))

    async def _turn_to(self, setup: Setup) -> set[str]:
        """The door and the pipeline go by `setup` → the collectors that stay as they are."""
        before, self.setup = self.setup.config, setup
        known = {settings.name: settings for settings in before.collectors}
        stays = {settings.name for settings in setup.config.collectors if known.get(settings.name) == settings}
        sources = [
            self.pipeline.sources[settings.name] if settings.name in stays else self.workshop.source(setup, settings)
            for settings in setup.config.collectors
        ]
        if setup.config.heartbeat == before.heartbeat:
            stays |= {CANARY}
            sources += [self.pipeline.sources[CANARY]] if self.heartbeat is not None else []
        else:
            sources += await self._replace_heartbeat(setup.config)
        await self.entrance().configure(setup.config)
        self.register.turn_to(setup.config.collectors, self.clock.now())
        await self.pipeline.reconfigure(setup.rule_book, sources, plan_of(setup.config), self.register.removed)
        await self.register.save()
        return stays

    async def _replace_heartbeat(self, config: Config) -> list[Source]:
        if self.heartbeat is not None:
            await self.heartbeat.stop()
        self.heartbeat = self.workshop.heartbeat(config)
        self.pipeline.canary = canary_of(self.heartbeat)
        if self.heartbeat is None:
            return []
        if self.delivery.runs:
            self.heartbeat.start()
        return [self.heartbeat.source()]

    async def _replace_pollers(self, config: Config, stays: Container[str]) -> None:
        # The old ones end before their successors begin: two readers of one checkpoint would count twice.
        gone = self.scheduler.replace([poller for name, poller in self._pollers.items() if name in stays])
        await asyncio.gather(*(poller.close() for poller in gone))
        self._pollers = self._pollers_of(config, stays)
        self.scheduler.replace(self._pollers.values())

    def _pollers_of(self, config: Config, stays: Container[str]) -> dict[str, Poller]:
        pollers = {
            each.name: self._pollers[each.name] if each.name in stays else self.workshop.poller(each, config.folder)
            for each in config.collectors
        }
        if self.heartbeat is not None:
            kept = self._pollers.get(CANARY) if CANARY in stays else None
            pollers[CANARY] = kept or self.heartbeat.poller(self.tracing)
        return pollers

    def _holds(self) -> None:
        self.telemetry.config_ok.set(1)
        self.telemetry.config_at.set(self.clock.now().timestamp())


def canary_of(heartbeat: Heartbeat | None) -> Canary | None:
    """What walks for the heartbeat, if there is one."""
    return None if heartbeat is None else heartbeat.canary


def refuse_what_needs_a_restart(before: Config, after: Config) -> None:
    """Raises InputError at the first key that a reload would change and can't."""
    for key, same in (
        (("state", "url"), after.state_url == before.state_url),
        (("state", "lease"), after.state.lease == before.state.lease),
        (("web", "listen"), after.web.listen == before.web.listen),
        (("web", "session", "key"), after.web.session.key == before.web.session.key),
        (("series",), after.series == before.series),
    ):
        if not same:
            what = f"{'.'.join(key)} can't change while the daemon runs"
            raise InputError(after.finding(key, what, "restart it: systemctl restart tocsin"))
