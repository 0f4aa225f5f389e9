"""The state store, for commands: opened for as long as a command runs, whether a daemon has it open or not."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec

import click

from tocsin.cli import FINDING
from tocsin.cli.options import DURATION, load

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

    from tocsin.state import State
    from tocsin.state.inbox import Answer, Request

POLL_EVERY: Final = 0.1

Parameters = ParamSpec("Parameters")


def now() -> datetime:
    """The wall clock: a command is a loop of one turn."""
    return datetime.now(UTC)


def runs_async(function: Callable[Parameters, Coroutine[Any, Any, None]]) -> Callable[Parameters, None]:
    """Makes a coroutine function a command's body."""

    @wraps(function)
    def body(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        asyncio.run(function(*args, **kwargs))

    return body


@asynccontextmanager
async def opened(config: Path, *, create: bool = False) -> AsyncIterator[State]:
    """The store that the configuration names. Raises ConfigError, and StateError where there is none.

    With `create` a SQLite store that is not there yet is made. One of another version is never upgraded here: a daemon
    of that version may run on it.
    """
    from tocsin.errors import StateError
    from tocsin.state import State

    url = load(config).state_url
    path = Path(url.partition(":///")[2]) if url.startswith("sqlite") else None
    missing = path is not None and not path.exists()
    if missing and not create:
        raise StateError(f"there is no state store at {path} yet: start the daemon, or run `tocsin state migrate`")
    state = await State.open(url, migrate=missing)
    try:
        yield state
    finally:
        await state.close()


def by_option(function: Callable[..., None]) -> Callable[..., None]:
    """`--by NAME`: who does it."""
    return click.option("--by", default=_me, show_default="you", help="Who does it, as the message will say.")(function)


def wait_option(function: Callable[..., None]) -> Callable[..., None]:
    """`--wait DURATION`: how long to wait for the daemon's answer."""
    return click.option(
        "--wait",
        type=DURATION,
        default="5s",
        show_default=True,
        help="How long to wait for the daemon to do it. What is asked is kept, and done when a daemon runs.",
    )(function)


async def ask(state: State, requests: Iterable[Request], wait: timedelta) -> None:
    """Ask the daemon and say what came of it; exits 1 when something was refused or not done yet."""
    from tocsin.state.inbox import Inbox

    inbox = Inbox(state)
    ids = [await inbox.ask(request, now()) for request in requests]
    ends = asyncio.get_running_loop().time() + wait.total_seconds()
    undone = False
    for id in ids:
        answer = await _answered(lambda id=id: inbox.answer(id), ends)  # type: ignore[misc]
        if answer is None:
            click.echo("no daemon has answered: it is kept, and done when one runs (tocsin run)", err=True)
        else:
            click.echo(answer.text, err=not answer.done)
        undone |= answer is None or not answer.done
    if undone:
        sys.exit(FINDING)


async def _answered(look: Callable[[], Awaitable[Answer | None]], ends: float) -> Answer | None:
    while True:
        answer = await look()
        if answer is not None or asyncio.get_running_loop().time() >= ends:
            return answer
        await asyncio.sleep(POLL_EVERY)


def _me() -> str:
    return os.environ.get("SUDO_USER") or getpass.getuser()
