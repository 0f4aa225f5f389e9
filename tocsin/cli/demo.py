"""`tocsin demo`: everything on this machine, faults injected, messages to watch."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import click

EVERY: Final = "all"
NOTHING: Final = "none"
SCENARIOS: Final = ("slow-query", "slow-endpoint", "failing-endpoint", "postgres-killed", "sign-in-burst")
"""The names of tocsin.testing.demo.FAULTS, written out so that `--help` need not load the demo; a test compares."""
FINDING: Final = 1
UNUSABLE: Final = 2


@click.command("demo")
@click.option(
    "--scenario",
    "scenarios",
    type=click.Choice([*SCENARIOS, EVERY, NOTHING]),
    multiple=True,
    default=[EVERY],
    show_default=True,
    help="Which fault to inject; may be repeated.",
)
@click.option("--once", is_flag=True, help="Each scenario once, then end; exit 1 unless each was told exactly once.")
@click.option("--json", "document", is_flag=True, help="With --once: one JSON object per fault on standard output.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep configuration, state and logs here. Default: a temporary folder.",
)
def demo(scenarios: tuple[str, ...], once: bool, document: bool, folder: Path | None) -> None:
    """Watch Tocsin at work on this machine, with faults injected.

    Starts a Postgres, an application, a stand-in Supabase Auth, a stand-in Slack whose channel is a page, and the
    daemon; then injects a slow query, a slow endpoint, an endpoint answering 500, a killed Postgres and a burst of
    failed sign-ins, one after the other, each told in one message. Ctrl-C ends all of it.

    \b
    Examples:
      tocsin demo                                     watch, on a loop
      tocsin demo --scenario none                     everything up, nothing broken
      tocsin demo --once --scenario all --json        each fault once; exit 1 unless each was told exactly once
    """
    if document and not once:
        raise click.UsageError("--json goes with --once: a loop has no end to report")
    if NOTHING in scenarios and once:
        raise click.UsageError("--scenario none waits for nothing, so --once has nothing to do")
    # Loaded here: the servers of the demo would weigh on every other command.
    from tocsin.errors import TocsinError
    from tocsin.testing.demo.show import run_demo

    names = () if NOTHING in scenarios else SCENARIOS if EVERY in scenarios else scenarios
    try:
        well = asyncio.run(_until_told_to_end(run_demo(names, once=once, document=document, folder=folder)))
    except TocsinError as error:
        click.echo(f"tocsin demo: {error}", err=True)
        sys.exit(UNUSABLE)
    except (KeyboardInterrupt, asyncio.CancelledError):
        click.echo("Ended; everything is stopped.", err=True)
        sys.exit(0 if not once else 130)
    sys.exit(0 if well else FINDING)


async def _until_told_to_end(work: Coroutine[Any, Any, bool]) -> bool:
    """`work`, cancelled by SIGTERM as by Ctrl-C, so that it strikes its stage."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    return await task
