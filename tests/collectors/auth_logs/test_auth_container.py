"""A container's output: what Docker and CRI wrap around the program's lines is taken off, and pieces are joined."""

from __future__ import annotations

import json
from typing import Any

from collectors.auth_logs.sources.container import unwrap

# Types of this folder's conftest, which a test can't import.
Auth = Any
Lines = Any
LINES = "tocsin_auth_log_lines_total"


def docker(text: str, stream: str = "stdout") -> bytes:
    return json.dumps({"log": text, "stream": stream, "time": "2026-08-20T09:12:44.1Z"}).encode()


def cri(text: str, tag: str = "F", stream: str = "stdout") -> bytes:
    return f"2026-08-20T09:12:44.123456789Z {stream} {tag} {text}".encode()


def test_lines_that_nobody_wrapped_are_given_back_as_they_are() -> None:
    """The common case costs a look at the first line."""
    lines = [b'{"status":200}', b"", b"plain"]
    assert unwrap(lines) == (lines, {})
    assert unwrap([]) == ([], {})


def test_docker_and_cri_lines_are_unwrapped() -> None:
    """The program's own bytes, quotes and umlauts included."""
    text = '{"msg":"Größe \\"x\\""}'
    assert unwrap([docker(text + "\n"), docker("next\n")]) == ([text.encode(), b"next"], {})
    assert unwrap([cri(text), cri("")]) == ([text.encode(), b""], {})
    assert unwrap([b"2026-08-20T09:12:44.1+02:00 stderr F x"]) == ([b"x"], {})


def test_pieces_are_joined_by_stream_and_over_reads() -> None:
    """Standard output and error are written in turns; a long line may be cut where a read ends."""
    first = [docker('{"a":'), docker("oops\n", "stderr"), docker("1,")]
    lines, begun = unwrap(first)
    assert (lines, begun) == ([b"oops"], {"stdout": b'{"a":1,'})
    assert unwrap([docker('"b":2}\n')], begun) == ([b'{"a":1,"b":2}'], {})
    lines, begun = unwrap([cri("ab", "P"), cri("cd", "P", "stderr"), cri("ef", "P:x")])
    assert (lines, begun) == ([], {"stdout": b"abef", "stderr": b"cd"})
    assert unwrap([cri("gh")], begun) == ([b"abefgh"], {"stderr": b"cd"})


def test_a_line_without_end_is_not_joined_for_ever() -> None:
    """Past `most` it is handed on as it is, and counts as oversize."""
    lines, begun = unwrap([cri("x" * 60, "P"), cri("x" * 60, "P"), cri("rest")], most=100)
    assert (lines, begun) == ([b"x" * 120, b"rest"], {})


def test_what_is_not_wrapped_among_wrapped_lines_is_kept() -> None:
    """A torn entry is one broken line, and takes no other with it."""
    assert unwrap([docker("a\n"), b'{"log":5}', b'{"log":"b', b"{}", docker("c\n")])[0] == [
        b"a", b'{"log":5}', b'{"log":"b', b"{}", b"c",
    ]  # fmt: skip


async def test_a_piece_survives_a_restart(auth: Auth, lines: Lines) -> None:
    """The begun half of a line is kept with the position: the line counts once, and whole."""
    failed = lines.failed().decode()
    auth.write(docker(failed + "\n"), docker(failed[:50]))
    auth.start(start="beginning")
    assert (await auth.poll()).value(LINES, outcome="request") == 1
    await auth.collector.close()
    auth.start(start="beginning")
    auth.write(docker(failed[50:] + "\n"))
    seen = await auth.poll()
    assert (seen.value(LINES, outcome="request"), seen.value(LINES, outcome="broken")) == (2, 0)


async def test_a_kubernetes_log_is_followed(auth: Auth, lines: Lines) -> None:
    """CRI's lines, of which a long one comes in pieces."""
    failed = lines.failed().decode()
    auth.write(cri(failed), cri(failed[:20], "P"), cri("not json"), cri(failed[20:]))
    auth.start(start="beginning")
    seen = await auth.poll()
    assert seen.value("tocsin_auth_failures_total") == 1  # the piece took up what came next on its stream
    auth.write(cri(failed[:20], "P"), cri(failed[20:]))
    assert (await auth.poll()).value("tocsin_auth_failures_total") == 2
