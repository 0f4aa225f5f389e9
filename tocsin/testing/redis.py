"""A real Redis for tests, on a socket of the file system: no port, nothing on disk, gone with its block."""

from __future__ import annotations

import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tocsin.errors import TocsinError
from tocsin.model import Seconds
from tocsin.testing.peers import redis_server


class RedisFailed(TocsinError):
    """Redis did not start; the message holds what it said."""


class RedisServer:
    """A running server."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For redis-py."""
        return f"unix://{self.socket}"

    def start(self, patience: Seconds = 30.0) -> None:
        """Until it answers, also after it was killed. Raises PeerMissing, RedisFailed."""
        program, environment = redis_server()
        log = self.socket.with_suffix(".log")
        command = [str(program), "--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "no"]
        self.socket.unlink(missing_ok=True)
        with log.open("wb") as said:
            self._process = subprocess.Popen(
                command, env=environment, stdout=said, stderr=subprocess.STDOUT, cwd=self.socket.parent
            )
        ends = time.monotonic() + patience
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > ends:
                self.stop()
                raise RedisFailed(f"redis-server ended with {self._process.returncode}: {log.read_text()[-500:]}")
            time.sleep(0.01)

    def pause(self) -> None:
        """It hangs: connections are taken and nothing is answered."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on."""
        self._send(signal.SIGCONT)

    def stop(self) -> None:
        """It is gone, with all that it kept."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _send(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as asking:
                asking.settimeout(1.0)
                asking.connect(str(self.socket))
                asking.sendall(b"PING\r\n")
                return asking.recv(16).startswith(b"+PONG")
        except OSError:
            return False


@contextmanager
def running_redis() -> Iterator[RedisServer]:
    """A server in a folder of its own. Raises PeerMissing."""
    with tempfile.TemporaryDirectory(prefix="tocsin-redis-") as folder:
        server = RedisServer(Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
