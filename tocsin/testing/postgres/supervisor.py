"""Runs one postmaster and makes sure that it never outlives the process that wanted it.

A script of its own, standard library only: `python -I supervisor.py '{"command": [...], ...}'`. It

- starts the command (as another user if told so) and prints its process id on standard output;
- watches its standard input, a pipe whose other end the parent holds, and the parent itself. The end of either, by
  exit or by SIGKILL, stops the postmaster at once (SIGQUIT, then SIGKILL) and removes the folders named in `remove`;
- ends when the postmaster and everything it started have ended, so "supervisor gone" means "port and shared memory
  free", and the server can be started again on the same data.

PR_SET_PDEATHSIG on the postmaster alone would not do: it fires when the parent's *thread* ends, and is lost where
the parent is not the direct one. It is set here as well, against this very process, which has one thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
_IMMEDIATE_SHUTDOWN_SECONDS = 5.0
_ORPHAN_SECONDS = 1.0
"""How long backends may take to notice that their postmaster is gone; a busy loop never does."""


def children_of(pid: int) -> list[int]:
    """The ids of the processes whose parent is `pid`: from /proc, else from ps."""
    if not Path("/proc/self/stat").exists():
        table = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=False).stdout
        rows = (line.split() for line in table.splitlines())
        return [int(row[0]) for row in rows if len(row) == 2 and int(row[1]) == pid]
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                # The command in parentheses may hold anything; what follows the last one does not.
                fields = Path(entry.path, "stat").read_text(errors="replace").rpartition(")")[2].split()
                if int(fields[1]) == pid and fields[0] != "Z":
                    found.append(int(entry.name))
    return found


def process_state(pid: int) -> str:
    """`R` running, `S` sleeping, `T` stopped, `Z` ended, as /proc has it; empty where it is gone or can't be told."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def send(pid: int, number: int) -> None:
    """Signal a process that may have ended meanwhile."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _die_with_supervisor() -> None:
    # After setuid, which would clear it (prctl(2)).
    _prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)
    if os.getppid() == 1:  # it died between fork and here
        os._exit(1)


def _spawn(order: dict[str, Any]) -> subprocess.Popen[bytes]:
    user: dict[str, Any] = {}
    if order.get("uid") is not None:
        user = {"user": order["uid"], "group": order["gid"], "extra_groups": []}
    with Path(order["log"]).open("ab") as log:
        return subprocess.Popen(
            order["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=order["folder"],
            env=order["env"],
            preexec_fn=_die_with_supervisor,
            **user,
        )


def _parent_watch() -> list[int]:
    """File descriptors that become readable when the parent is gone."""
    watched = [sys.stdin.fileno()]
    if hasattr(os, "pidfd_open"):
        # The pipe's other end may have been inherited by a child that the parent forked; the pidfd is not fooled.
        with contextlib.suppress(OSError):
            watched.append(os.pidfd_open(os.getppid()))
    return watched


def _wait_for_end(postmaster: subprocess.Popen[bytes]) -> bool:
    """Block until the postmaster ends (True) or the parent is gone (False)."""
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    watched = _parent_watch()
    while postmaster.poll() is None:
        ready, _, _ = select.select([wake_read, *watched], [], [], 5.0)
        if wake_read in ready:
            os.read(wake_read, 4096)
        if any(fd in ready for fd in watched):
            return False
    return True


def _stop_now(postmaster: subprocess.Popen[bytes]) -> None:
    family = [postmaster.pid, *children_of(postmaster.pid)]
    send(postmaster.pid, signal.SIGQUIT)
    for pid in family:  # a stopped process takes no signal but this one and SIGKILL
        send(pid, signal.SIGCONT)
    try:
        postmaster.wait(_IMMEDIATE_SHUTDOWN_SECONDS)
    except subprocess.TimeoutExpired:
        postmaster.kill()
        postmaster.wait()


def _outlive_orphans() -> None:
    """Wait until no process of the server is left; as their subreaper we are the parent of its orphans."""
    deadline = time.monotonic() + _ORPHAN_SECONDS
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            for orphan in children_of(os.getpid()):
                send(orphan, signal.SIGKILL if time.monotonic() > deadline else signal.SIGCONT)
            time.sleep(0.005)


def main(order: dict[str, Any]) -> int:
    """Run the order to its end; the postmaster's exit code, negative for a signal."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    postmaster = _spawn(order)
    print(postmaster.pid, flush=True)  # noqa: T201 - the protocol with the parent
    on_its_own = _wait_for_end(postmaster)
    if not on_its_own:
        _stop_now(postmaster)
    _outlive_orphans()
    if not on_its_own:
        for folder in order.get("remove", ()):
            shutil.rmtree(folder, ignore_errors=True)
    return postmaster.returncode


if __name__ == "__main__":
    code = main(json.loads(sys.argv[1]))
    sys.exit(code if code >= 0 else 128 - code)
