"""`tocsin run`: the daemon."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import click

from tocsin.cli.options import config_option


@click.command()
@config_option
def run(config: Path) -> None:
    """Run the daemon.

    SIGTERM drains: running polls end and what is due is sent. SIGHUP reloads the configuration; a bad one is refused,
    and what ran before goes on. A second SIGTERM ends it at once; so does an end that hangs for 37 seconds. Both are
    exit code 3, and the log says where it stood. The address it listens on is printed as one line of JSON.
    """
    from tocsin.app import serve

    sys.exit(asyncio.run(serve(config, os.environ)))
