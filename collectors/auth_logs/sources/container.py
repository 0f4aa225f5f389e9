"""A container's output as its runtime keeps it → the lines that the program wrote. Pure.

Docker, json-file   {"log":"…\n","stream":"stdout","time":"…"}; a piece of a long line has no \n at its end
CRI (containerd,
CRI-O)              2026-08-20T09:12:44.123456789Z stdout F …; P instead of F: a piece, more follows

Source: moby's daemon/logger/jsonfilelog, and kubernetes' CRI logging format.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import orjson

_DOCKER: Final = b'{"log":'
_CRI: Final = re.compile(rb"\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d) (stdout|stderr) ([FP])(?::\S*)? ?")
_NOTHING: Final[Mapping[str, bytes]] = {}


def unwrap(
    lines: Sequence[bytes], pieces: Mapping[str, bytes] = _NOTHING, *, most: int = 1 << 30
) -> tuple[Sequence[bytes], Mapping[str, bytes]]:
    """(the program's lines, the begun ones by stream). `pieces`: what the lines before left begun; `most`: bytes after
    which a line is not joined further. Lines that no runtime wrapped are given back as they are."""
    first = next(iter(lines), b"")
    if not (pieces or first.startswith(_DOCKER) or _CRI.match(first)):
        return lines, _NOTHING
    begun, whole = dict(pieces), []
    for stream, text, ends in _unwrapped(lines):
        text = begun.pop(stream, b"") + text
        if ends or len(text) > most:
            whole.append(text)
        else:
            begun[stream] = text
    return whole, begun


def _unwrapped(lines: Iterable[bytes]) -> Iterable[tuple[str, bytes, bool]]:
    """(stream, text, whether the line ends with it)."""
    for line in lines:
        if line.startswith(_DOCKER):
            try:
                entry = orjson.loads(line)
                text = entry["log"].encode()
            except (orjson.JSONDecodeError, KeyError, AttributeError, TypeError):
                yield "", line, True
                continue
            yield str(entry.get("stream", "")), text.removesuffix(b"\n"), text.endswith(b"\n")
        elif (found := _CRI.match(line)) is not None:
            yield found[1].decode(), line[found.end() :], found[2] == b"F"
        else:
            yield "", line, True
