"""Runs a command that ends when its parent does, kill -9 included.

A script of its own, standard library only: `python -I -S leash.py PARENT_PID COMMAND…`. On Linux it asks the kernel to
be killed with its parent and becomes the command, so that there is no process in between. Elsewhere it stays, and
watches its standard input, a pipe that the parent holds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading

_PR_SET_PDEATHSIG = 1


def _become(parent: int, command: list[str]) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel was asked
        sys.exit(1)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


def _guard(command: list[str]) -> int:
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def watch() -> None:
        while os.read(0, 4096):
            pass
        child.kill()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _: child.send_signal(received))
    threading.Thread(target=watch, daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    if sys.platform == "linux":
        _become(int(sys.argv[1]), sys.argv[2:])
    sys.exit(_guard(sys.argv[2:]))
