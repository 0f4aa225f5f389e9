"""`tocsin run`: the daemon."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import click

from tocsin.cli.options import config_option


@click.command()
@config_option
def run(config: Path) -> None:
    """Run the daemon.

    SIGTERM drains: running polls end and what is due is sent. SIGHUP reloads the configuration; a bad one is refused,
    and what ran before goes on. The address it listens on is printed as one line of JSON.
    """
    from tocsin.app import serve

    asyncio.run(serve(config, os.environ))
