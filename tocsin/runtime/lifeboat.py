"""What must be said although the state store takes no writes: first messages and escalations of P0 and P1.

A full disk must not be the reason that nobody was told. While the ledger owes the store, what was to be queued is not
in the outbox; the urgent part of it is sent from memory, once, and its receipt is remembered. When the store is back,
the rows come in with all that was owed, and the courier finds here that they were delivered: nothing is said twice.
Edits, thread replies and ends wait for the store; they are owed, not lost.

Where several replicas share the store another may have taken over, and tell the same: what may be said then, and when,
is `Leadership.speaks_from_memory`.

The price: a daemon that is killed before the store is back has forgotten both, and begins anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from tocsin.errors import DeliveryError, Refused, Throttled, Uncertain
from tocsin.incidents.calls import Withdrawal
from tocsin.model import Action, Notification, Receipt, Seconds, Severity
from tocsin.ports import Clock
from tocsin.runtime.courier import Endpoint
from tocsin.runtime.ending import ended
from tocsin.runtime.leadership import Leadership, from_memory
from tocsin.state import Change
from tocsin.telemetry.logs import logger
from tocsin.telemetry.metrics import Telemetry

SAID: Final = frozenset({Action.POST, Action.BROADCAST, Action.ESCALATE})
PAUSE: Final[Seconds] = 2.0
TRIES: Final = 30
"""After that the outbox, which the store has by then or never will, is the better place to try."""


class Lifeboat:
    """Sends from memory. All on one event loop."""

    def __init__(
        self,
        *,
        clock: Clock,
        telemetry: Telemetry,
        endpoint: Callable[[str], Endpoint | None],
        leadership: Leadership | None = None,
    ) -> None:
        self._clock = clock
        self._telemetry = telemetry
        self._endpoint = endpoint
        self._leadership = leadership or Leadership(telemetry=telemetry)
        self._receipts: dict[str, Receipt] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def take(self, change: Change) -> None:
        """Say what of `change` can't wait (ledger.Overflow). Returns at once."""
        for call in change.calls:
            if (
                isinstance(call, Notification)
                and call.action in SAID
                and call.severity.rank <= Severity.P1.rank
                and call.id not in self._receipts
                and call.id not in self._tasks
            ):
                self._tasks[call.id] = asyncio.get_running_loop().create_task(self._say(call), name=f"say:{call.id}")

    def settled(self, change: Change) -> Change:
        """What was said from here is not taken back: the end that was to stand in its place follows it instead."""
        calls: list[Notification | Withdrawal] = []
        for call in change.calls:
            if isinstance(call, Withdrawal) and (call.post in self._receipts or call.post in self._tasks):
                calls += call.otherwise
            else:
                calls.append(call)
        return replace(change, calls=tuple(calls))

    async def known(self, notification: str) -> Receipt | None:
        """The receipt of what was said from here; waits for an attempt that is under way."""
        task = self._tasks.get(notification)
        if task is not None:
            await asyncio.wait({task})
        return self._receipts.pop(notification, None)

    async def close(self) -> None:
        """Give up what has not been said yet, and forget what was."""
        self._receipts.clear()
        await ended(*self._tasks.values())

    async def _say(self, row: Notification) -> None:
        from_memory.set(True)  # in this task alone
        since = self._leadership.elapsed()
        try:
            while not self._leadership.speaks_from_memory(since):
                await self._clock.sleep(PAUSE / 4)
            name: str | None = row.notifier
            for _ in range(TRIES):
                endpoint = self._endpoint(name) if name else None
                if endpoint is None:
                    break
                receipt, wait, over = await self._try(endpoint, row)
                if receipt is not None:
                    self._receipts[row.id] = receipt
                    self._telemetry.deliveries.labels(endpoint.name, "from_memory").inc()
                    logger().warning("delivery.from_memory", notification=row.id, notifier=endpoint.name)
                    return
                name = endpoint.failover if over else name
                await self._clock.sleep(wait)
            logger().error("delivery.from_memory_failed", notification=row.id, notifier=row.notifier)
        finally:
            del self._tasks[row.id]

    async def _try(self, endpoint: Endpoint, row: Notification) -> tuple[Receipt | None, Seconds, bool]:
        """(the receipt, else None; how long to wait; whether the failover is next)."""
        try:
            async with asyncio.timeout(endpoint.deadline):
                return await endpoint.notifier.send(row, None), 0.0, False
        except Throttled as error:
            return None, error.retry_after, False
        except Refused:
            return None, 0.0, True
        except (Uncertain, TimeoutError):
            with suppress(DeliveryError, TimeoutError):
                async with asyncio.timeout(endpoint.deadline):
                    return await endpoint.notifier.find(row, None), PAUSE, False
            return None, PAUSE, False
        except Exception as error:  # noqa: BLE001 (nothing that a notifier raises may end this)
            logger().warning("delivery.from_memory_again", notification=row.id, error=str(error))
            return None, PAUSE, False
