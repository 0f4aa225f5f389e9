"""Remote write's messages as bytes: Prometheus' prompb.WriteRequest, written by hand.

    WriteRequest { repeated TimeSeries timeseries = 1; }
    TimeSeries   { repeated Label labels = 1; repeated Sample samples = 2; }
    Label        { string name = 1; string value = 2; }
    Sample       { double value = 1; int64 timestamp = 2; }    milliseconds since the epoch

Three small messages that have not changed since 2016 need no generated code. The tests have the real servers read them.

Source: https://prometheus.io/docs/specs/prw/remote_write_spec/ (1.0): labels sorted by name, the metric's name among
them, no label empty, samples of a series in the order of time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from tocsin.model import METRIC_NAME

_FIRST: Final = b"\x0a"
"""Field 1, length-delimited."""
_SECOND: Final = b"\x12"
_VALUE: Final = struct.Struct("<Bd")
_DOUBLE: Final = 0x09
"""Field 1, 64 bits."""
_TIMESTAMP: Final = b"\x10"
"""Field 2, varint."""

Point = tuple[int, float]
"""(milliseconds since the epoch, value)"""


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; a negative number as 64-bit two's complement."""
    number &= 0xFFFF_FFFF_FFFF_FFFF
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def encode_labels(name: str, labels: Mapping[str, str], external: Mapping[str, str]) -> bytes:
    """The labels of a TimeSeries. `external` ones are added where the series has none of that name."""
    pairs = {**external, **labels, METRIC_NAME: name}
    return b"".join(
        _delimited(_FIRST, _delimited(_FIRST, _text(each)) + _delimited(_SECOND, _text(pairs[each])))
        for each in sorted(pairs, key=_text)
        if pairs[each]
    )


def encode_series(labels: bytes, points: Sequence[Point]) -> bytes:
    """A TimeSeries, as a field of a WriteRequest. Staleness markers keep their bits."""
    body = [labels]
    for at, value in points:
        body.append(_delimited(_SECOND, _VALUE.pack(_DOUBLE, value) + _TIMESTAMP + varint(at)))
    return _delimited(_FIRST, b"".join(body))


def write_request(series: Iterable[tuple[bytes, Sequence[Point]]]) -> bytes:
    """A WriteRequest of (encoded labels, points)."""
    return b"".join(encode_series(labels, points) for labels, points in series)


def _delimited(tag: bytes, payload: bytes) -> bytes:
    return tag + varint(len(payload)) + payload


def _text(text: str) -> bytes:
    # A lone surrogate is no UTF-8, and one such label would have the whole request refused.
    return text.encode("utf-8", "replace")
