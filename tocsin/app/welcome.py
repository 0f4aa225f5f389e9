"""What whoever started the daemon is told: where it listens, what it runs with, and how to get in."""

from __future__ import annotations

import os

import orjson

from tocsin import __version__
from tocsin.app.workshop import Setup
from tocsin.config import Config
from tocsin.errors import StateError
from tocsin.telemetry.logs import logger
from tocsin.web.entrance import Entrance


def announce(setup: Setup, address: str) -> None:
    """That it listens at `address`, and what it runs with."""
    config = setup.config
    _print({"event": "web.listening", "address": address, "pid": os.getpid()})
    logger().info(
        "daemon.started", version=__version__, address=address, collectors=len(config.collectors),
        rule_groups=len(setup.groups), rules=sum(len(group.rules) for group in setup.groups),
        notifiers=len(config.notifiers), config=str(config.file),
    )  # fmt: skip
    for warning in config.warnings:
        logger().warning("config.warning", what=str(warning))


async def show_the_way_in(entrance: Entrance, config: Config) -> None:
    """A link into the console for who sits at this machine; the log says why there is none."""
    try:
        link = await entrance.one_time_link()
    except StateError as error:
        logger().warning("console.no_link", why=str(error), mend="start the daemon again for a link")
        return
    if link:
        # Printed and not logged: logs are shipped elsewhere, and whoever opens it first is an admin.
        _print({"event": "console.link", "url": link, "valid_for": "1h, once, on this machine"})
    elif config.web.supabase is None:
        logger().warning("console.closed", why="no web.supabase, and web.listen is not loopback's")


def _print(line: dict[str, str | int]) -> None:
    # One line on standard output for whoever started us with port 0; logs go to standard error.
    print(orjson.dumps(line).decode(), flush=True)  # noqa: T201
