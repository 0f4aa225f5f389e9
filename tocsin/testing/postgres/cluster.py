"""The data folder of an embedded Postgres: made by initdb, owned by whoever runs the server; and its settings."""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from tocsin.errors import TocsinError
from tocsin.testing.postgres.binaries import Account, Binaries, run_as

SUPERUSER: Final = "postgres"
LogFormat = Literal["text", "json", "csv"]

_PRELOADED: Final = ("pg_stat_statements", "auto_explain")
_SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "50",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "wal_level": "logical",
    "max_prepared_transactions": "10",
    "track_io_timing": "on",
    "track_activity_query_size": "4096",
    "log_line_prefix": "%m [%p] %q%u@%d/%a ",
    "log_lock_waits": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_NOT_DURABLE: Final[Mapping[str, str]] = {"fsync": "off", "full_page_writes": "off"}
"""A test crashes no machine. synchronous_commit stays on: a killed postmaster loses what it did not write."""
_EXTENSION_SETTINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "pg_stat_statements": {"pg_stat_statements.track": "all", "pg_stat_statements.max": "5000"},
    "auto_explain": {"auto_explain.log_min_duration": "1s", "auto_explain.log_nested_statements": "on"},
}


class PostgresFailed(TocsinError):
    """The embedded Postgres did not do as told; its log's last lines are in the message."""


def prepare(folder: Path, binaries: Binaries, account: Account | None) -> str:
    """The folder, its owner, and the cluster if there is none yet; the superuser's password.

    Raises PostgresFailed when the folder can't be used.
    """
    folder.mkdir(parents=True, exist_ok=True)
    secret = folder / "superuser.password"
    version_file = folder / "data" / "PG_VERSION"
    if version_file.exists() and secret.exists():
        found = int(version_file.read_text().strip())
        if found != binaries.version:
            raise PostgresFailed(
                f"{folder} was made by Postgres {found}, and {binaries.source} is {binaries.version}: name another "
                "folder, or remove this one"
            )
        return secret.read_text().strip()
    password = secrets.token_urlsafe(18)
    secret.touch(mode=0o600)
    secret.write_text(password)
    log = folder / "postgres.log"
    log.touch()
    if account is not None:
        for path in (folder, secret, log):
            os.chown(path, account.uid, account.gid)
        _check_reachable(folder, account)
    _initdb(folder, binaries, account, secret)
    return password


def _check_reachable(folder: Path, account: Account) -> None:
    entered = subprocess.run(["/bin/ls", str(folder)], capture_output=True, check=False, cwd="/", **run_as(account))
    if entered.returncode != 0:
        raise PostgresFailed(
            f"we are root, so Postgres runs as {account.name}, who can't enter {folder}: name a folder under a path "
            f"that everybody may pass, such as {tempfile.gettempdir()}, or none"
        )


def _initdb(folder: Path, binaries: Binaries, account: Account | None, secret: Path) -> None:
    made = subprocess.run(
        [
            binaries.program("initdb"),
            f"--pgdata={folder / 'data'}",
            f"--username={SUPERUSER}",
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=server_environment(),
        **run_as(account),
    )
    if made.returncode != 0:
        raise PostgresFailed(f"initdb failed: {(made.stderr or made.stdout).strip()[-800:]}")


def default_settings(binaries: Binaries, *, durable: bool, log_format: LogFormat) -> dict[str, str]:
    """postgresql.conf of a server for tests: quick, small, and with everything counted."""
    preload = [name for name in _PRELOADED if binaries.has_library(name)]
    chosen = {
        **_SETTINGS,
        **({} if durable else _NOT_DURABLE),
        **({"compute_query_id": "on"} if binaries.version >= 14 else {}),
        **_log_settings(log_format),
        "shared_preload_libraries": ",".join(preload),
    }
    for name in preload:
        chosen.update(_EXTENSION_SETTINGS[name])
    return chosen


def _log_settings(log_format: LogFormat) -> dict[str, str]:
    if log_format == "text":
        return {}
    return {
        "logging_collector": "on",
        "log_destination": f"{log_format}log",
        "log_directory": "log",
        "log_filename": "postgres.log",
    }


def server_environment() -> dict[str, str]:
    """A server inherits no PG* variable of ours (PGPORT, PGDATA), and speaks English to be matched by tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C"}
