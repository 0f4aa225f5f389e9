"""Opens the series store where the configuration says, and keeps time in order across a restart.

Samples are ordered by time and a store takes none that is older than what it holds. Where the wall clock was set back
while the daemon was down, the daemon's time goes on from the newest sample. Where that is further ahead than a clock
can honestly be wrong, the stored samples are set aside instead: better a short memory than times that are hours off.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Final

from tocsin.runtime.clock import SteadyClock
from tocsin.series import Store
from tocsin.telemetry.logs import logger

MOST_AHEAD: Final = timedelta(minutes=10)


def open_store(
    folder: Path, clock: SteadyClock, *, retention: float, max_series: int, max_bytes: int | None = None
) -> Store:
    """The store in `folder`; in memory alone where it can't be had, because alerting matters more than history.

    Raises StateError when another process uses the folder.
    """
    try:
        store = Store.open(folder, retention=retention, max_series=max_series, max_bytes=max_bytes)
        newest = store.newest
        if newest is not None and newest - clock.now() > MOST_AHEAD:
            store.close()
            aside = folder.with_name(f"{folder.name}.ahead-{newest:%Y%m%dT%H%M%S}")
            folder.rename(aside)
            logger().error(
                "series.set_aside", folder=str(aside), newest=newest.isoformat(),
                why="its newest sample is far in the future: the wall clock was wrong then, or is now",
            )  # fmt: skip
            store = Store.open(folder, retention=retention, max_series=max_series, max_bytes=max_bytes)
            newest = store.newest
    except OSError as error:
        logger().error("series.not_opened", folder=str(folder), error=str(error), mend="series are kept in memory")
        return Store(retention=retention, max_series=max_series, max_bytes=max_bytes)
    if newest is not None:
        clock.not_before(newest)
    found = store.recovery
    for line in found.damage:
        logger().warning("series.damage", what=line)
    logger().info("series.opened", folder=str(folder), samples=found.samples, series=found.series)
    return store
