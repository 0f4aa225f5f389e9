"""The faults of a simulation, and where they strike: at every edge between stages.

    faults = Faults(random.Random(4711), events)
    faults.arm(world)          # after each start; the far end's with `arm_notifiers` after a reload

A crash may come before and after each call to the outbox and each commit, before, within and after each transaction,
and before and after a message arrives. Wherever a crash may come between two transactions a twin may act: another
worker for the same destination, as there is one where an old leader has not noticed yet that it leads no more.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from tocsin.errors import EditLost, Refused, StateError, Throttled, Unavailable, Uncertain
from tocsin.model import Notification
from tocsin.runtime.courier import NEW_MESSAGE
from tocsin.testing import invariants
from tocsin.testing.destination import HANGS, LOST_ANSWER
from tocsin.testing.world import World

MAIN: Final = ("pages", "chat")
"""Destinations that fail worst: they refuse, and are down for longer."""
CALLS: Final = ("claim_due", "finish", "retry", "repost", "fail_over", "give_up")


class Crash(BaseException):
    """The process is gone."""


class Faults:
    """How likely each fault is, and what is broken at the moment."""

    def __init__(self, chance: random.Random, events: list[str]) -> None:
        self.chance = chance
        self.events = events
        self.fault = chance.choice((0.0, 0.1, 0.4))
        self.crash = chance.choice((0.0, 0.005, 0.02))
        self.disk = chance.choice((0.0, 0.0, 0.05))
        self.hang = chance.choice((0.0, 0.0, 0.02))
        self.twin = chance.choice((0.0, 0.0, 0.05))
        self.chaos = True
        self.outage = False
        """The MAIN destinations take nothing at all."""
        self.full = False
        """Nothing can be written to the disk."""
        self.violations: list[str] = []
        """What was claimed before something more urgent."""
        self._twin_acts = False

    def arm(self, world: World) -> None:
        """Put the faults where the world meets its edges."""
        self.arm_notifiers(world)
        for name in CALLS:
            setattr(world.state.outbox, name, self._boundary(world, name, getattr(world.state.outbox, name)))
        commit: Any = self._boundary(world, "commit", world.state.commit)
        transaction: Any = self._transactions(world, world.state.transaction)
        world.state.commit = commit  # type: ignore[method-assign]
        world.state.transaction = transaction  # type: ignore[method-assign]

    def arm_notifiers(self, world: World) -> None:
        """The same for the destinations that there are now."""
        for notifier in world.notifiers.values():
            notifier.fault_of = self._send_fault
            notifier.find_fault_of = self._find_fault
            notifier.between = self.maybe_crash

    def strikes(self, odds: float) -> bool:
        """True when a fault of these odds happens now."""
        return self.chaos and odds > 0 and self.chance.random() < odds

    def maybe_crash(self, where: str) -> None:
        """Raises Crash, now and then."""
        if self.strikes(self.crash):
            self.events.append(f"crash {where}")
            raise Crash(where)

    def _boundary(self, world: World, name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def crossed(*args: Any, **named: Any) -> Any:
            self.maybe_crash(f"before {name}")
            answer = await call(*args, **named)
            if name == "claim_due":
                self.violations += await invariants.order(world, answer)
            self.maybe_crash(f"after {name}")
            return answer

        return crossed

    def _transactions(
        self, world: World, begun: Callable[[], AbstractAsyncContextManager[Any]]
    ) -> Callable[[], AbstractAsyncContextManager[Any]]:
        @asynccontextmanager
        async def transaction() -> AsyncIterator[Any]:
            if self.strikes(self.twin) and not self._twin_acts:
                await self._act_as_twin(world)
            self.maybe_crash("before a transaction")
            if (self.full and self.chaos) or self.strikes(self.disk):
                raise StateError("disk full")
            async with begun() as connection:
                yield connection
                self.maybe_crash("within a transaction")
            self.maybe_crash("after a transaction")

        return transaction

    async def _act_as_twin(self, world: World) -> None:
        self._twin_acts = True
        try:
            name = self.chance.choice(sorted(world.plan.destinations))
            self.events.append(f"a twin delivers to {name}")
            await world.twin_delivers(name)
        except StateError:
            pass
        finally:
            self._twin_acts = False

    def _send_fault(self, row: Notification) -> Exception | None:
        if self.chaos and self.outage and row.notifier in MAIN:
            return Unavailable("down")
        if self.strikes(self.hang):
            self.events.append(f"{row.id}: hangs")
            return HANGS
        if not self.strikes(self.fault):
            return None
        faults: list[Exception] = [
            Throttled("slow down", retry_after=self.chance.choice((1.0, 5.0, 45.0))),
            Unavailable("503"),
            Uncertain("reset before it arrived"),
            LOST_ANSWER,
            LOST_ANSWER,
            RuntimeError("a bug in the notifier"),
        ]
        if row.notifier in MAIN:
            faults.append(Refused("not_in_channel", mend="invite the app"))
        if row.action not in NEW_MESSAGE:
            faults.append(EditLost("message_not_found"))
        fault = self.chance.choice(faults)
        self.events.append(f"{row.id}: {'lost answer' if fault is LOST_ANSWER else repr(fault)}")
        return fault

    def _find_fault(self, _: Notification) -> Exception | None:
        if not self.strikes(self.fault):
            return None
        return self.chance.choice((Throttled("slow down", retry_after=2.0), Unavailable("503"), Uncertain("timeout")))
