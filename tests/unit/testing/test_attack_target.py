"""What the attacks speak through tells a server that hangs up on them from one that closed an idle connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tocsin.testing.protected import Forge, Target


@contextmanager
def hanging_up(answers: int) -> Iterator[int]:
    """The port of a server that answers so many requests a connection, and then closes it without a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    for _ in range(answers):
                        if not connection.recv(65_536):
                            break
                        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)  # else accept() would go on
    thread.join(60)


@pytest.mark.parametrize(("answers", "statuses"), [(1, [204, 204, 204]), (0, [0, 0, 0])])
def test_who_closed_an_idle_connection_is_asked_anew(answers: int, statuses: list[int]) -> None:
    """And who hangs up on a fresh one has answered: with 0."""
    with hanging_up(answers) as port:
        target = Target(Forge.hs256(), port)
        assert [target.status() for _ in statuses] == statuses
        target.close()
