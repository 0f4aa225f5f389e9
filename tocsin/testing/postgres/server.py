"""A real Postgres for tests, the demo and benchmarks: `with EmbeddedPostgres.start() as postgres: …`.

Ready in about a second on an empty machine: `initdb`, then one postmaster on a free port of 127.0.0.1, with
pg_stat_statements and auto_explain loaded and fsync off. It ends with the process that started it, however that ends
(see supervisor.py). Passwords are scram-sha-256, since loopback is shared with other users.

For fault tests: `kill` (SIGKILL to the postmaster), `pause`/`resume` (SIGSTOP/SIGCONT to all of it, or to one
backend), `stop`, `start_again` (same port, same data).
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import psycopg
from psycopg.conninfo import make_conninfo

from tocsin.model import Seconds
from tocsin.testing.postgres.binaries import (
    Account,
    Binaries,
    find_binaries,
    readable_by,
    unprivileged_account,
)
from tocsin.testing.postgres.cluster import (
    SUPERUSER,
    LogFormat,
    PostgresFailed,
    default_settings,
    prepare,
    server_environment,
)
from tocsin.testing.postgres.supervisor import children_of, process_state, send

_SIGNALS: Final = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class EmbeddedPostgres:
    """A running server. Made by `start`; a context manager, plain and async, that stops it."""

    def __init__(
        self,
        *,
        binaries: Binaries,
        account: Account | None,
        folder: Path,
        temporary: bool,
        settings: Mapping[str, str],
        log_format: LogFormat,
    ) -> None:
        self.binaries = binaries
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "postgres.log"
        """Standard error of the server; with log_format json or csv the log proper is `log_file`."""
        self.log_format = log_format
        self.port = 0
        self.password = ""
        self._account = account
        self._temporary = temporary
        # Also at interpreter exit; after a SIGKILL of ours the supervisor removes the folder.
        self._cleanup: Callable[[], object] = (
            weakref.finalize(self, shutil.rmtree, folder, True) if temporary else _keep
        )
        self._settings = dict(settings)
        self._passwords: dict[str, str] = {}
        self._supervisor: subprocess.Popen[str] | None = None
        self._pid = 0

    # Starting ------------------------------------------------------------------------------------------------------

    @classmethod
    def start(
        cls,
        folder: Path | str | None = None,
        *,
        settings: Mapping[str, str] | None = None,
        durable: bool = False,
        log_format: LogFormat = "text",
        binaries: Binaries | None = None,
        port: int = 0,
        deadline: Seconds = 60.0,
    ) -> EmbeddedPostgres:
        """A server that accepts connections; blocks for about a second.

        `folder` keeps data and log, and is used again if it holds them; None makes one that goes with the server.
        `settings` override postgresql.conf. `durable` turns fsync on. `port` 0 takes a free one.
        Raises PostgresUnavailable (nothing to run, and what to install) or PostgresFailed (its log says why).
        """
        account = unprivileged_account()
        usable = readable_by(binaries or find_binaries(), account)
        temporary = folder is None
        place = Path(tempfile.mkdtemp(prefix="tocsin-pg-")) if folder is None else Path(folder).resolve()
        server = cls(
            binaries=usable,
            account=account,
            folder=place,
            temporary=temporary,
            settings={**default_settings(usable, durable=durable, log_format=log_format), **(settings or {})},
            log_format=log_format,
        )
        try:
            server.password = prepare(place, usable, account)
            server._launch_on_free_port(port, deadline)
        except BaseException:
            server.stop("immediate")
            server._cleanup()
            raise
        return server

    @classmethod
    async def start_async(
        cls, folder: Path | str | None = None, *, settings: Mapping[str, str] | None = None
    ) -> EmbeddedPostgres:
        """`start`, off the event loop."""
        return await asyncio.to_thread(cls.start, folder, settings=settings)

    def _launch_on_free_port(self, port: int, deadline: Seconds) -> None:
        for attempt in range(5):
            self.port = port or _free_port()
            try:
                self._launch(deadline)
            except PostgresFailed:
                # Between our probe and the server's bind somebody else may have taken the port.
                if port or attempt == 4 or "could not bind" not in self._log_tail():
                    raise
            else:
                return

    def _launch(self, deadline: Seconds) -> None:
        configuration = {**self._settings, "port": str(self.port)}
        order = {
            "command": [
                self.binaries.program("postgres"),
                "-D",
                str(self.data),
                *(f"--{name}={value}" for name, value in configuration.items()),
            ],
            "uid": self._account.uid if self._account else None,
            "gid": self._account.gid if self._account else None,
            "env": server_environment(),
            "folder": str(self.data),
            "log": str(self.log),
            "remove": [str(self.folder)] if self._temporary else [],
        }
        script = Path(__file__).with_name("supervisor.py")
        self._supervisor = subprocess.Popen(
            [sys.executable, "-I", str(script), json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the demo; it stops the server in its own time
        )
        assert self._supervisor.stdout is not None
        first = self._supervisor.stdout.readline()
        if not first.strip().isdigit():
            raise PostgresFailed(f"the server could not be started: {self._log_tail()}")
        self._pid = int(first)
        self._wait_until_ready(deadline)

    def _wait_until_ready(self, deadline: Seconds) -> None:
        ends = time.monotonic() + deadline
        while True:
            if not self.running:
                raise PostgresFailed(f"the server ended while it started; its log ends with: {self._log_tail()}")
            try:
                with psycopg.connect(self.dsn(), connect_timeout=5, autocommit=True) as connection:
                    row = connection.execute("show data_directory").fetchone()
            except psycopg.OperationalError as error:
                if time.monotonic() > ends:
                    raise PostgresFailed(f"not ready after {deadline:g} s: {error}; log: {self._log_tail()}") from error
                time.sleep(0.01)
                continue
            # Somebody else's server may have answered on the port: nothing is written before this is known.
            if row is None or Path(row[0]).resolve() != self.data.resolve():
                raise PostgresFailed(f"port {self.port} belongs to another server, whose data is in {row and row[0]}")
            return

    # Reaching it ---------------------------------------------------------------------------------------------------

    def dsn(self, dbname: str = "postgres", user: str = SUPERUSER, password: str | None = None) -> str:
        """A libpq connection string. Passwords of the superuser and of `create_role`'s roles are known."""
        known = self.password if user == SUPERUSER else self._passwords.get(user, "")
        return make_conninfo(
            host="127.0.0.1",
            port=self.port,
            dbname=dbname,
            user=user,
            password=known if password is None else password,
        )

    def execute(self, *statements: str, dbname: str = "postgres") -> None:
        """Run statements as superuser, each in its own transaction: set-up of a test or of the demo."""
        with psycopg.connect(self.dsn(dbname), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def create_role(self, name: str, *grants: str, options: str = "") -> str:
        """A login role with a random password, member of `grants`; its connection string."""
        password = secrets.token_urlsafe(12)
        self.execute(
            f"create role {name} login password '{password}' {options}", *(f"grant {role} to {name}" for role in grants)
        )
        self._passwords[name] = password
        return self.dsn(user=name)

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        return self._pid

    @property
    def running(self) -> bool:
        """Whether the postmaster, or anything it started, is still there."""
        return self._supervisor is not None and self._supervisor.poll() is None

    @property
    def log_file(self) -> Path:
        """Where the server's log lines go, in the format asked for."""
        endings = {"text": self.log, "json": self.data / "log/postgres.json", "csv": self.data / "log/postgres.csv"}
        return endings[self.log_format]

    def _log_tail(self) -> str:
        try:
            return " | ".join(self.log.read_text(errors="replace").splitlines()[-8:])
        except OSError:
            return "(no log)"

    # Faults --------------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        """SIGKILL the postmaster; returns when the last of its processes has ended (a second at most)."""
        if self.running:
            send(self._pid, signal.SIGKILL)
        if self._supervisor is not None:
            self._join(10.0)

    def pause(self, pid: int | None = None) -> None:
        """SIGSTOP the whole server, or the one backend `pid`: connections hang, none is refused.

        Returns when all of them have stopped, which a signal does a moment after it was sent.
        """
        for number in self._family() if pid is None else [pid]:
            send(number, signal.SIGSTOP)
            ends = time.monotonic() + 5.0
            while process_state(number) not in ("T", "t", "Z", "") and time.monotonic() < ends:
                time.sleep(0.001)

    def resume(self, pid: int | None = None) -> None:
        """End a `pause`."""
        for stopped in self._family() if pid is None else [pid]:
            send(stopped, signal.SIGCONT)

    def _family(self) -> list[int]:
        # The postmaster first: stopped, it starts no new child that the list would miss.
        return [self._pid, *children_of(self._pid)] if self.running else []

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast", deadline: Seconds = 30.0) -> None:
        """Shut down and keep the data, for `start_again`. Harmless when it has ended already."""
        if self.running and self._pid:
            send(self._pid, _SIGNALS[mode])
            self.resume()  # a stopped process takes no orders
        if self._supervisor is not None:
            self._join(deadline)

    def close(self) -> None:
        """Shut down for good; a temporary folder is removed."""
        self.stop()
        self._cleanup()

    def start_again(self, deadline: Seconds = 60.0) -> None:
        """The same data on the same port, after `kill` or `stop`; after `kill` it recovers from its log first."""
        if self.running:
            raise PostgresFailed("it is running: kill or stop it first")
        self._launch(deadline)

    def _join(self, deadline: Seconds) -> None:
        supervisor = self._supervisor
        assert supervisor is not None
        try:
            supervisor.wait(deadline)
        except subprocess.TimeoutExpired:
            assert supervisor.stdin is not None
            supervisor.stdin.close()  # the supervisor's own way: SIGQUIT, then SIGKILL
            supervisor.wait(15.0)
        for pipe in (supervisor.stdin, supervisor.stdout):
            if pipe is not None:
                pipe.close()
        self._supervisor = None
        self._pid = 0

    # As a context manager ------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)


def _keep() -> None:
    """The caller's folder stays."""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
