"""Is every destination able to take a message, before an alert needs it?

Asked when the daemon starts and then every ten minutes: a revoked token, a channel that was archived or that the app
was removed from is told while it is quiet, by an alert that goes out through the others. Asking at the start also loads
what sending needs, so that the first page of the daemon's life is as fast as the second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

from tocsin.model import Seconds
from tocsin.ports import Clock, Health
from tocsin.runtime.courier import Endpoint
from tocsin.telemetry.logs import logger
from tocsin.telemetry.metrics import Telemetry

EVERY: Final[Seconds] = 600.0


async def watch_destinations(
    endpoints: Callable[[], Iterable[Endpoint]], *, clock: Clock, telemetry: Telemetry
) -> None:
    """Until cancelled. Sets tocsin_notifier_up and logs each change."""
    said: dict[str, bool] = {}
    while True:
        for endpoint in endpoints():
            health = await _asked(endpoint)
            telemetry.notifier_ok.labels(endpoint.name).set(health.ok)
            if said.get(endpoint.name) is not health.ok:
                said[endpoint.name] = health.ok
                log = logger().info if health.ok else logger().error
                log("notifier.checked", notifier=endpoint.name, ok=health.ok, what=health.what, mend=health.mend)
        await clock.sleep(EVERY)


async def _asked(endpoint: Endpoint) -> Health:
    try:
        async with asyncio.timeout(endpoint.deadline):
            return await endpoint.notifier.check()
    except TimeoutError:
        return Health(ok=False, what="did not answer in time", mend="check the network to it")
    except Exception as error:  # noqa: BLE001 (a notifier that can't even be asked is not healthy)
        return Health(ok=False, what=f"{type(error).__name__}: {error}")
