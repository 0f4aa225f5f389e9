"""From a stretch of the queue to requests: pure.

A series always goes to the same shard, so shards may be sent at once and the order within a series is kept. A request
that a receiver refuses can be cut in two, until what it does not want is alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import snappy

from tocsin.model import Labels
from tocsin.series.remote.position import Split
from tocsin.series.remote.protobuf import Point, encode_labels, write_request
from tocsin.series.remote.queue import Entry

Encode = Callable[[str, Labels], bytes]

_KEPT = 200_000


@dataclass(frozen=True, slots=True)
class Item:
    """A sample, its series' labels already encoded."""

    labels: bytes
    point: Point


Request = Sequence[Item]


class Encoder:
    """Encodes label sets, each once."""

    def __init__(self, external: Mapping[str, str]) -> None:
        self._external = dict(external)
        self._known: dict[tuple[str, Labels], bytes] = {}

    def __call__(self, name: str, labels: Labels) -> bytes:
        key = (name, labels)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            known = self._known[key] = encode_labels(name, labels, self._external)
        return known


def requests_of(entries: Sequence[Entry], split: Split, encode: Encode) -> list[list[Request]]:
    """Per shard its requests, in the order in which they must be sent. The same entries always give the same."""
    shards: list[list[Item]] = [[] for _ in range(split.shards)]
    for entry in entries:
        labels = encode(entry.name, entry.labels)
        shards[crc32(labels) % split.shards].append(Item(labels, (entry.at, entry.value)))
    return [
        [items[begin : begin + split.batch] for begin in range(0, len(items), split.batch)] for items in shards if items
    ]


def halves(request: Request) -> tuple[Request, Request]:
    """The earlier and the later half; not for a request of one sample."""
    middle = len(request) // 2
    return request[:middle], request[middle:]


def body_of(request: Request) -> bytes:
    """A snappy-compressed WriteRequest: one TimeSeries per series, its samples in order."""
    series: dict[bytes, list[Point]] = {}
    for item in request:
        series.setdefault(item.labels, []).append(item.point)
    compressed: bytes = snappy.compress(write_request(series.items()))
    return compressed
