"""The stand-in Supabase Auth as a process: `python -m tocsin.testing.supabase --port 0 --log auth.jsonl`.

Prints one line of JSON once it listens (url, address, api_key, log, pid), then runs until SIGTERM, SIGINT or, with
--parent, until its standard input ends. With `--dsn-env AUTH_DATABASE_URL` it also keeps the schema `auth` of that
Postgres, which must hold no users yet. With a hook:

    --hook before-user-created=pg-functions://postgres/tocsin_gate/before_user_created --hook-dsn postgresql://…
    --hook before-user-created=http://127.0.0.1:9475/hooks/before-user-created --hook-secret v1,whsec_…
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import psycopg

from tocsin.testing.supabase.accounts import Seed
from tocsin.testing.supabase.hooks import hook_of
from tocsin.testing.supabase.journal import Era
from tocsin.testing.supabase.keys import SigningKey
from tocsin.testing.supabase.server import DEFAULT_API_KEY, FakeAuth


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line and serve. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tocsin.testing.supabase", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--log", type=Path, help="append the log lines to this file")
    parser.add_argument("--era", type=Era, choices=list(Era), default=Era.CURRENT, help="whose log lines")
    parser.add_argument("--api-key", default=DEFAULT_API_KEY, help="what the apikey header must hold")
    parser.add_argument("--user", action="append", type=_seed, default=[], help="EMAIL=PASSWORD; repeat for several")
    parser.add_argument("--autoconfirm", action="store_true", help="a sign-up needs no confirmation by mail")
    parser.add_argument(
        "--token-limit", type=int, default=0, help="calls of /token by one address in 5 minutes; 0: any"
    )
    parser.add_argument(
        "--dsn-env", default="", help="variable with the Postgres that users and sessions go to as well"
    )
    parser.add_argument("--hook", action="append", default=[], help="NAME=URI, as in Auth's configuration")
    parser.add_argument("--hook-dsn", default="", help="the database of pg-functions hooks")
    parser.add_argument("--hook-secret", action="append", default=[], help="v1,whsec_…; while it is rotated, several")
    parser.add_argument("--signing-key", type=Path, help="PEM file of a P-256 key; without, a fresh one signs")
    parser.add_argument("--parent", action="store_true", help="stop when standard input ends")
    options = parser.parse_args(argv)
    try:
        asyncio.run(_serve(options))
    except (OSError, ValueError, psycopg.Error) as error:
        sys.stderr.write(f"stand-in Supabase Auth: {error}\n")
        return 2
    return 0


def _seed(text: str) -> Seed:
    email, _, password = text.partition("=")
    if "@" not in email or not password:
        raise argparse.ArgumentTypeError(f"not a user: {text!r}; write it like ana@example.com=secret-word")
    return Seed(email=email, password=password)


def _database(variable: str) -> str:
    if variable and not os.environ.get(variable):
        raise ValueError(f"--dsn-env: there is no {variable} in the environment")
    return os.environ[variable] if variable else ""


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    named = (text.partition("=") for text in options.hook)
    auth = FakeAuth(
        hooks={name: hook_of(uri, dsn=options.hook_dsn, secrets=options.hook_secret) for name, _, uri in named},
        users=options.user,
        log=options.log,
        era=options.era,
        api_key=options.api_key,
        autoconfirm=options.autoconfirm,
        database=_database(options.dsn_env),
        token_limit=options.token_limit,
        signing_key=SigningKey.of(options.signing_key) if options.signing_key else None,
        host=options.host,
        port=options.port,
    )
    watch = loop.create_task(_end_of_input(stop)) if options.parent else None
    async with auth:
        hello = {
            "url": auth.url,
            "address": auth.address,
            "api_key": auth.api_key,
            "log": str(options.log) if options.log else None,
            "pid": os.getpid(),
        }
        sys.stdout.write(json.dumps(hello) + "\n")
        sys.stdout.flush()
        await stop.wait()
    if watch is not None:
        watch.cancel()


async def _end_of_input(stop: asyncio.Event) -> None:
    """A parent that dies by kill -9 closes our input: then we go too, and no stray server stays."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(4096):
        pass
    stop.set()


if __name__ == "__main__":
    raise SystemExit(main())
