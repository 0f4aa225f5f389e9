"""Sealed samples of one metric: compressed without loss, immutable, decoded when somebody asks.

pcodec takes series after series, so that neighbours in memory are neighbours in time: 1 to 1.6 bytes a sample on
counters and gauges, decoded at more than 1 GB/s. Bit patterns are kept, the staleness marker included.
"""

from __future__ import annotations

import struct
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

import numpy as np
import orjson
from pcodec import ChunkConfig, standalone

from tocsin.model import Labels
from tocsin.promql.storage import Array, Floats, Millis, Rows
from tocsin.promql.window import BEYOND

Serials = Rows
"""Numbers of series, given once by the store and never again."""

SEALED: Final = 8
QUICK: Final = 2
"""Compression levels: of what is kept for long, and of a snapshot that lives an hour."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """Series of one metric with their samples, spelled out; the shape of a Panel."""

    serials: Serials
    """[n]"""
    timeline: Rows
    """[n]"""
    lengths: Rows
    """[timelines]"""
    times: Millis
    """[rows, timelines], BEYOND past a timeline's end."""
    values: Floats
    """[rows, n]"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """Compressed samples. `serials` rise."""

    metric: str
    until: int
    """All samples of the metric at or before this time (ms) are in this chunk or an older one."""
    first: int
    last: int
    """The times of the oldest and the newest sample, in milliseconds."""
    serials: Serials
    timeline: Rows
    lengths: Rows
    times: bytes | memoryview
    values: bytes | memoryview
    samples: int

    @property
    def nbytes(self) -> int:
        """Memory held."""
        index = (self.serials, self.timeline, self.lengths)
        return len(self.times) + len(self.values) + sum(array.nbytes for array in index)

    def decode(self) -> Samples:
        """The samples. Raises ValueError where the bytes are no such samples."""
        rows, lines = int(self.lengths.max(initial=0)), len(self.lengths)
        times = np.full((lines, rows), BEYOND, np.int64)
        times[np.arange(rows) < self.lengths[:, None]] = _unpacked(self.times, np.int64, int(self.lengths.sum()))
        counts = self.lengths[self.timeline]
        flat = _unpacked(self.values, np.float64, self.samples)
        if len(counts) and int(counts.min()) == rows:
            values = flat.reshape(len(counts), rows)
        else:
            values = np.zeros((len(counts), rows))
            values[np.arange(rows) < counts[:, None]] = flat
        return Samples(
            serials=self.serials, timeline=self.timeline, lengths=self.lengths, times=np.ascontiguousarray(times.T),
            values=np.ascontiguousarray(values.T),
        )  # fmt: skip


def _packed(array: Array, level: int) -> bytes:
    packed: bytes = standalone.simple_compress(np.ascontiguousarray(array), ChunkConfig(compression_level=level))
    return packed


def _unpacked(raw: bytes | memoryview, dtype: type, count: int) -> Array:
    if not count:
        return np.zeros(0, dtype)
    try:
        array = standalone.simple_decompress(bytes(raw))
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"compressed samples are damaged: {error}") from None
    if array is None or array.dtype != np.dtype(dtype) or len(array) != count:
        raise ValueError("compressed samples are damaged: wrong type or number")
    return np.asarray(array)


def encode(metric: str, until: int, samples: Samples, level: int = SEALED) -> Chunk:
    """Compress samples."""
    order = np.argsort(samples.serials, kind="stable")
    timeline, lengths = samples.timeline[order], samples.lengths
    rows = np.arange(len(samples.times))
    held = rows < lengths[:, None]
    times = samples.times.T[held]
    counts = lengths[timeline]
    values = samples.values[:, order].T
    whole = bool((counts == len(rows)).all())
    flat = values.ravel() if whole else values[rows < counts[:, None]]
    return Chunk(
        metric=metric, until=until, first=int(times.min()), last=int(times.max()), serials=samples.serials[order],
        timeline=timeline, lengths=lengths, times=_packed(times, level), values=_packed(flat, level),
        samples=len(flat),
    )  # fmt: skip


class Decoded:
    """The samples of the chunks asked for last, up to so many bytes."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._kept: OrderedDict[int, tuple[Chunk, Samples]] = OrderedDict()
        self._held = 0

    def samples(self, chunk: Chunk) -> Samples:
        """The chunk's samples, decoded now or before."""
        known = self._kept.get(id(chunk))
        if known is not None:
            self._kept.move_to_end(id(chunk))
            return known[1]
        samples = chunk.decode()
        # The chunk is kept beside them, so that its id stays its own.
        self._kept[id(chunk)] = (chunk, samples)
        self._held += samples.values.nbytes + samples.times.nbytes
        while self._held > self.budget and len(self._kept) > 1:
            _, (_, dropped) = self._kept.popitem(last=False)
            self._held -= dropped.values.nbytes + dropped.times.nbytes
        return samples


# Bytes ---------------------------------------------------------------------------------------------------------------

_SIZES: Final = struct.Struct("<IIIIII")


def dump(chunk: Chunk, labels: list[Labels]) -> bytes:
    """The chunk with the labels of its series, self-contained."""
    header = orjson.dumps([chunk.metric, chunk.until, chunk.first, chunk.last, chunk.samples])
    names = zlib.compress(orjson.dumps([dict(each) for each in labels]), 1)
    serials = _packed(chunk.serials.astype(np.int64), SEALED)
    shape = _packed(np.concatenate((chunk.timeline, chunk.lengths)).astype(np.int64), SEALED)
    parts = (header, names, serials, shape, chunk.times, chunk.values)
    return _SIZES.pack(*map(len, parts)) + b"".join(parts)


def load(raw: bytes | memoryview) -> tuple[Chunk, bytes]:
    """A chunk, its samples a view of `raw`, and its labels as bytes for `labels_of`.

    Raises ValueError where they are damaged.
    """
    try:
        sizes = _SIZES.unpack_from(raw)
        parts, at = [], _SIZES.size
        for size in sizes:
            parts.append(raw[at : at + size])
            at += size
        if at != len(raw):
            raise ValueError("wrong length")
        header, names, packed_serials, packed_shape, times, values = parts
        metric, until, first, last, samples = orjson.loads(header)
        serials = np.asarray(standalone.simple_decompress(bytes(packed_serials)), np.intp)
        shape = np.asarray(standalone.simple_decompress(bytes(packed_shape)), np.intp)
    except (struct.error, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"chunk is damaged: {error}") from None
    chunk = Chunk(
        metric=metric, until=until, first=first, last=last, serials=serials, timeline=shape[: len(serials)],
        lengths=shape[len(serials) :], times=times, values=values, samples=samples,
    )  # fmt: skip
    return chunk, bytes(names)


def labels_of(names: bytes) -> list[Labels]:
    """The label sets that `load` left as they were. Raises ValueError where they are damaged."""
    try:
        return [Labels(each) for each in orjson.loads(zlib.decompress(names))]
    except (zlib.error, orjson.JSONDecodeError, TypeError) as error:
        raise ValueError(f"labels are damaged: {error}") from None
