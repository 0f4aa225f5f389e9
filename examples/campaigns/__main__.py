"""`python -m examples.campaigns`: the service as a process. See `--help`."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import json
import logging
import os
import socket
import sys
from collections.abc import Sequence
from typing import Final

import psycopg
import uvicorn
from starlette.types import ASGIApp

from examples.campaigns.app import build_app
from examples.campaigns.database import make_database, prepare
from examples.campaigns.faults import CONTROLS, PREFIX, SECRET_LENGTH, FaultInjection
from examples.campaigns.measures import Measures
from examples.campaigns.worker import Spool, Worker
from tocsin.access.guard import Public
from tocsin.asgi import protect
from tocsin.asgi.database import Database
from tocsin.asgi.mount import Layer
from tocsin.errors import InputError

FAULTS: Final = "CAMPAIGNS_FAULTS"
BAD_INPUT: Final = 2


class Refusal(Exception):
    """It can't start; the message says why and what to do."""


class _Announcing(uvicorn.Server):
    """Prints its address on stdout, as one JSON line, as soon as it answers."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            host, port = sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            line = {"event": "campaigns.listening", "address": f"http://{shown}:{port}"}
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m examples.campaigns", description="The campaigns service.")
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=8000, help="0 takes any free one (default: %(default)s)")
    parser.add_argument(
        "--dsn-env", default="DATABASE_URL", metavar="NAME", help="the variable with the database's URL"
    )
    parser.add_argument("--pool", type=int, default=12, metavar="N", help="connections at most (default: %(default)s)")
    parser.add_argument("--pace", type=float, default=50.0, metavar="N", help="sends per second (default: %(default)s)")
    parser.add_argument("--no-worker", action="store_true", help="serve HTTP only; deliver elsewhere")
    parser.add_argument("--prepare", action="store_true", help="apply schema.sql first")
    parser.add_argument("--seed", action="store_true", help="with --prepare: put three campaigns in, if there are none")
    return parser.parse_args(argv)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    """Bound here, not by the server, so that a port that is taken is said plainly and port 0 is known at once."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        raise Refusal(f"can't listen on {host}:{port}: {error}; choose another with --port, or 0 for any") from None
    return listener


def _application(arguments: argparse.Namespace, dsn: str) -> ASGIApp:
    measures = Measures()
    database = make_database(dsn, size=arguments.pool)
    worker = None if arguments.no_worker else Worker(database, Spool(), measures, pace=arguments.pace)
    faults = _faults(arguments.host, database)
    public: list[str | Public] = ["/healthz"]
    if faults is not None:
        # The fault wrapper asks for a secret of its own.
        public += [Public(PREFIX, methods=CONTROLS), Public(f"{PREFIX}/", methods=CONTROLS, under=True)]
    try:
        return protect(
            build_app(database, alongside=worker.running if worker else None),
            public=public,
            registry=measures.registry,
            database=database,
            service=os.environ.get("TOCSIN_APP_SERVICE", "campaigns"),
            inside=[] if faults is None else [faults],
        )
    except InputError as error:
        raise Refusal(str(error)) from None


def _faults(host: str, database: Database) -> Layer | None:
    """The demo's layer next to the application, so that what it raises takes the way of a real bug."""
    secret = os.environ.get(FAULTS)
    if not secret:
        return None
    if not _is_loopback(host):
        raise Refusal(f"{FAULTS} is set, and --host {host} is not loopback: unset it, or use 127.0.0.1")
    if len(secret) < SECRET_LENGTH:
        raise Refusal(f"{FAULTS} must hold a secret of at least {SECRET_LENGTH} characters")
    return lambda app, _: FaultInjection(app, database, secret)


async def _serve(arguments: argparse.Namespace) -> None:
    dsn = os.environ.get(arguments.dsn_env)
    if not dsn:
        raise Refusal(f"set {arguments.dsn_env} to the database's URL, e.g. postgresql://user@127.0.0.1:5432/campaigns")
    app = _application(arguments, dsn)
    if arguments.prepare:
        try:
            await prepare(dsn, seed=arguments.seed)
        except psycopg.Error as error:
            raise Refusal(f"can't prepare the database that {arguments.dsn_env} names: {error}") from None
    listener = _listen(arguments.host, arguments.port)
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=3)
    await _Announcing(config).serve(sockets=[listener])


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _arguments(argv)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # The pool tells of every failed reconnection; ours say it once per request that suffered.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    try:
        asyncio.run(_serve(arguments))
    except Refusal as refusal:
        sys.stderr.write(f"campaigns: {refusal}\n")
        return BAD_INPUT
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
