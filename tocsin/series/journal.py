"""Frames on disk: what was appended, in an order that survives a crash.

A file is a row of frames: magic, kind, length, a checksum of this header, a checksum of the payload, the payload. A
reader that meets damage looks for the next sound header, so one flipped bit costs one frame, and a torn tail costs the
frame that was being written.

Source of the idea: LevelDB's log format, with headers that can be found again.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from mmap import mmap
from typing import Final
from zlib import crc32

import numpy as np
import orjson

from tocsin.model import Labels
from tocsin.promql.storage import Floats, Rows

_MAGIC: Final = b"\xf5TCS"
_HEADER: Final = struct.Struct("<4sBQI")
"""Magic, kind, length and checksum of the payload; a checksum of these follows."""
_CHECK: Final = struct.Struct("<I")
OVERHEAD: Final = _HEADER.size + _CHECK.size
_LONGEST: Final = 1 << 40


class Kind(IntEnum):
    """What a frame holds."""

    CHUNK = 1
    """Sealed samples of one metric."""
    SNAPSHOT = 2
    """The recent samples of one metric as the segment began."""
    POLL = 3
    """What one append brought."""
    BEGIN = 4
    """The first frame of a segment; it is complete up to and including the last snapshot it announces."""


def framed(kind: Kind, payload: bytes) -> bytes:
    """A frame."""
    header = _HEADER.pack(_MAGIC, kind, len(payload), crc32(payload))
    return header + _CHECK.pack(crc32(header)) + payload


@dataclass(frozen=True, slots=True)
class Frame:
    """A sound frame."""

    kind: Kind
    payload: memoryview


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are no sound frame."""

    offset: int
    length: int
    torn: bool
    """At the end of the file: what was being written when the process died."""


def frames(raw: bytes | mmap) -> Iterator[Frame | Damage]:
    """The frames of a file, and what is damaged between them. Payloads are views, not copies."""
    view = memoryview(raw)
    at, size = 0, len(view)
    while at < size:
        found = _header(view, at)
        if found is None:
            start, at = at, _next_header(raw, view, at + 1)
            yield Damage(start, at - start, torn=at >= size)
            continue
        kind, length, check = found
        begin = at + OVERHEAD
        payload = view[begin : begin + length]
        if len(payload) < length or crc32(payload) != check:
            following = begin + length if begin + length <= size else _next_header(raw, view, at + 1)
            yield Damage(at, following - at, torn=following >= size)
            at = following
            continue
        yield Frame(kind, payload)
        at = begin + length


def _header(view: memoryview, at: int) -> tuple[Kind, int, int] | None:
    end = at + OVERHEAD
    if end > len(view) or bytes(view[at : at + 4]) != _MAGIC:
        return None
    header = view[at : at + _HEADER.size]
    if _CHECK.unpack_from(view, at + _HEADER.size)[0] != crc32(header):
        return None
    _, kind, length, check = _HEADER.unpack(header)
    if kind not in Kind.__members__.values() or length > _LONGEST:
        return None
    return Kind(kind), length, check


def _next_header(raw: bytes | mmap, view: memoryview, at: int) -> int:
    while True:
        at = raw.find(_MAGIC, at)
        if at < 0:
            return len(view)
        if _header(view, at) is not None:
            return at
        at += 1


# Polls ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one metric at one time."""

    at: int
    serials: Rows
    values: Floats


@dataclass(frozen=True, slots=True)
class Poll:
    """What one append brought: series not named before, then batches of samples."""

    series: tuple[tuple[int, str, Labels], ...]
    """(serial, metric, labels)"""
    batches: tuple[Batch, ...]
    lost: int = 0
    """Samples that can't be read, since what they refer to was in a damaged frame."""


_RENEWED_AFTER: Final = 256


class PollWriter:
    """Polls to bytes, for one segment.

    A poll mostly brings the series of the one before: a set of series is spelled out once, and again every so many
    polls, so that a damaged frame does not spoil what follows for long.
    """

    def __init__(self, known: Iterable[int] = ()) -> None:
        """`known`: serials that the segment's snapshots name."""
        self._sets: dict[bytes, int] = {}
        self._named = set(known)
        self._polls = 0

    def dump(self, batches: Sequence[Batch], describe: Callable[[int], tuple[str, Labels]]) -> bytes:
        """The payload of a POLL frame; `describe` gives metric and labels of a serial."""
        self._polls += 1
        if self._polls % _RENEWED_AFTER == 0:
            self._sets.clear()
        heads: list[tuple[int, int, int, bool]] = []
        sets: list[bytes] = []
        series: list[tuple[int, str, dict[str, str]]] = []
        for batch in batches:
            raw = batch.serials.astype("<u4").tobytes()
            number = self._sets.get(raw)
            fresh = number is None
            if number is None:
                number = self._sets[raw] = len(self._sets)
                sets.append(raw)
                for serial in batch.serials.tolist():
                    if serial not in self._named:
                        self._named.add(serial)
                        metric, labels = describe(serial)
                        series.append((serial, metric, dict(labels)))
            heads.append((batch.at, number, len(batch.serials), fresh))
        header = orjson.dumps([series, heads])
        values = [batch.values.astype("<f8").tobytes() for batch in batches]
        return b"".join((_CHECK.pack(len(header)), header, *sets, *values))


class PollReader:
    """Bytes to polls, in the order in which they were written."""

    def __init__(self) -> None:
        self._sets: dict[int, Rows] = {}

    def load(self, payload: memoryview) -> Poll:
        """A poll."""
        (length,) = _CHECK.unpack_from(payload)
        at = _CHECK.size + length
        series, heads = orjson.loads(payload[_CHECK.size : at])
        for _, number, size, fresh in heads:
            if fresh:
                self._sets[number] = np.frombuffer(payload, "<u4", size, at).astype(np.intp)
                at += 4 * size
        batches = []
        lost = 0
        for when, number, size, _ in heads:
            serials = self._sets.get(number)
            if serials is None or len(serials) != size:
                lost += size
            else:
                batches.append(Batch(when, serials, np.frombuffer(payload, "<f8", size, at)))
            at += 8 * size
        return Poll(tuple((serial, metric, Labels(labels)) for serial, metric, labels in series), tuple(batches), lost)
