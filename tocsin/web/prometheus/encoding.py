"""Query results as Prometheus writes them in JSON, byte for byte.

A sample is `[1435781430.781,"1"]`: the time in seconds with three decimals where it is no whole second, the value as a
string in the shortest form that reads back, `e` only below 1e-6 and from 1e21 on, `NaN`, `+Inf`, `-Inf`. In strings
`<`, `>` and `&` are escaped, as Go's encoder does.
Source: prometheus/util/jsonutil/marshal.go and web/api/v1/json_codec.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Final

import numpy as np
import orjson

from tocsin.promql import Line, Matrix, Result, Scalar, String, Vector
from tocsin.promql.storage import Millis

_ODD: Final = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}
_ROW: Final = 2_000
"""Samples that are written at once."""


def number(value: float) -> str:
    """A value, as Go's FormatFloat writes it."""
    text = repr(value)
    if text.endswith(".0"):
        return text[:-2]
    if "e" not in text:
        return _ODD.get(text, text)
    if 1e-6 <= abs(value) < 1e21:
        return format(Decimal(text), "f")
    return text


def timestamp(millis: int) -> str:
    """Seconds, with three decimals where there are any."""
    sign, millis = ("-", -millis) if millis < 0 else ("", millis)
    seconds, rest = divmod(millis, 1000)
    return f"{sign}{seconds}.{rest:03d}" if rest else f"{sign}{seconds}"


def escaped(raw: bytes) -> bytes:
    """JSON with the characters escaped that Go's encoder escapes. They only ever stand inside strings."""
    if b"<" in raw or b">" in raw or b"&" in raw or b"\xe2\x80" in raw:
        raw = raw.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")
        raw = raw.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return raw


def string(text: str) -> bytes:
    """A JSON string. What UTF-8 can't carry becomes `?`."""
    try:
        return escaped(orjson.dumps(text))
    except TypeError:
        return escaped(orjson.dumps(text.encode("utf-8", "replace").decode()))


class LabelWriter:
    """Label sets as JSON objects; a text that comes again is not escaped again."""

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {}

    def _string(self, text: str) -> bytes:
        known = self._known.get(text)
        if known is None:
            known = self._known[text] = string(text)
        return known

    def object(self, labels: Mapping[str, str]) -> bytes:
        """The labels, in their order."""
        inner = b",".join(self._string(name) + b":" + self._string(value) for name, value in labels.items())
        return b"{" + inner + b"}"


def result(value: Result, limit: int = 0) -> Iterator[bytes]:
    """The `data` of a query; of a vector or matrix no more than `limit` series, 0 for all."""
    most = limit or None
    match value:
        case Scalar():
            yield b'{"resultType":"scalar","result":'
            yield f'[{timestamp(_millis(value.at))},"{number(value.value)}"]'.encode()
        case String():
            yield b'{"resultType":"string","result":'
            yield f"[{timestamp(_millis(value.at))},".encode() + string(value.value) + b"]"
        case Vector():
            yield b'{"resultType":"vector","result":['
            yield from _vector(value, most)
            yield b"]"
        case Matrix():
            yield b'{"resultType":"matrix","result":['
            yield from _matrix(value, most)
            yield b"]"
    yield b"}"


def _vector(vector: Vector, most: int | None) -> Iterator[bytes]:
    writer, at = LabelWriter(), timestamp(_millis(vector.at)).encode()
    for index, (labels, value) in enumerate(islice(vector, most)):
        comma = b"," if index else b""
        yield b'%b{"metric":%b,"value":[%b,"%b"]}' % (comma, writer.object(labels), at, number(value).encode())


def _matrix(matrix: Matrix, most: int | None) -> Iterator[bytes]:
    writer = LabelWriter()
    shared: Millis | None = None
    heads: list[str] = []
    for index, line in enumerate(islice(matrix, most)):
        if shared is not line.times and (shared is None or not np.array_equal(shared, line.times)):
            # The series of a range query mostly have the same steps.
            shared, heads = line.times, [f'[{timestamp(at)},"' for at in line.times.tolist()]
        yield (b"," if index else b"") + b'{"metric":' + writer.object(line.labels) + b',"values":['
        yield from _samples(line, heads)
        yield b"]}"


def _samples(line: Line, heads: list[str]) -> Iterator[bytes]:
    for first in range(0, len(heads), _ROW):
        values = line.values[first : first + _ROW].tolist()
        text = '"],'.join(head + number(value) for head, value in zip(heads[first : first + _ROW], values, strict=True))
        yield (text + ('"],' if first + _ROW < len(heads) else '"]')).encode()


def _millis(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def rfc3339(at: datetime) -> str:
    """A time as Go writes it: UTC, no more digits than it needs."""
    text = at.strftime("%Y-%m-%dT%H:%M:%S.%f").rstrip("0").rstrip(".")
    return f"{text}Z"
