"""The series notation of promqltest and promtool: `metric{a="b"} 0+10x3 _ stale {{…}}`.

Source: prometheus/docs/configuration/unit_testing_rules.md#series
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tocsin.model import STALE, Labels
from tocsin.promql.lexer import Kind, tokens
from tocsin.promql.native import Histogram
from tocsin.promql.native.notation import ITEM, parse_run

Point = float | None | Histogram
"""A number, a native histogram, or None for a gap."""

_NUMBER = r"[-+]?(?:0x[0-9a-f]+|(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|inf|nan)"
_REPEATED = re.compile(rf"({_NUMBER})(?:([-+])({_NUMBER}))?x(\d+)", re.IGNORECASE)
_GAP = re.compile(r"_(?:x(\d+))?")
_STALE = re.compile(r"stale(?:x(\d+))?", re.IGNORECASE)
_PLAIN = re.compile(_NUMBER, re.IGNORECASE)


@dataclass(frozen=True)
class SeriesLine:
    """A line of a load or of an expectation."""

    labels: Labels
    points: tuple[Point, ...]
    suffix: str = ""
    """`st` for a line of start timestamps."""
    hinted: bool = False
    """Hints of native histograms are a part of what is expected."""

    @property
    def histogram(self) -> bool:
        """True when a sample of it is a native histogram."""
        return any(isinstance(point, Histogram) for point in self.points)


def number(text: str) -> float:
    """A number as Prometheus writes it."""
    return float(int(text, 16)) if text.lower().lstrip("+-").startswith("0x") else float(text)


def series_line(line: str) -> SeriesLine:
    """Labels and points. Raises ValueError."""
    labels, rest, suffix = split_labels(line)
    points = start_offsets(rest) if suffix == "st" else values(rest)
    return SeriesLine(labels, tuple(points), suffix, "counter_reset_hint" in rest)


def split_labels(line: str) -> tuple[Labels, str, str]:
    """The label set at the start of a line, what follows, and the suffix after an @."""
    match = re.match(r"[A-Za-z_:][\w:]*", line)
    name, at = (match.group(), match.end()) if match else ("", 0)
    pairs: dict[str, str] = {}
    if line[at : at + 1] == "{" and line[at : at + 2] != "{{":
        end = _closing(line, at)
        pairs = _pairs(line[at + 1 : end])
        at = end + 1
    if name:
        pairs["__name__"] = name
    suffix = ""
    if line[at : at + 3] == "@st":
        suffix, at = "st", at + 3
    return Labels(pairs), line[at:].strip(), suffix


def _closing(line: str, at: int) -> int:
    quoted = ""
    position = at + 1
    while position < len(line):
        char = line[position]
        if quoted:
            if char == "\\" and quoted != "`":
                position += 1
            elif char == quoted:
                quoted = ""
        elif char in "\"'`":
            quoted = char
        elif char == "}":
            return position
        position += 1
    raise ValueError(f"no closing brace: {line}")


def _pairs(text: str) -> dict[str, str]:
    found = tokens(text)
    pairs: dict[str, str] = {}
    at = 0
    while found[at].kind is not Kind.END:
        name = found[at].text
        if found[at + 1].text == "=":
            pairs[name] = found[at + 2].text
            at += 3
        else:
            pairs["__name__"] = name
            at += 1
        if found[at].text == ",":
            at += 1
    return pairs


def values(text: str) -> list[Point]:
    """The points of a line."""
    points: list[Point] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
        elif match := ITEM.match(text, at):
            points += parse_run(match)
            at = match.end()
        elif match := _GAP.match(text, at):
            points += [None] * int(match.group(1) or 1)
            at = match.end()
        elif match := _STALE.match(text, at):
            points += [STALE] * (int(match.group(1) or 0) + 1)
            at = match.end()
        elif match := _REPEATED.match(text, at):
            first, sign, step, count = match.groups()
            by = number(step) * (-1 if sign == "-" else 1) if step else 0.0
            value = number(first)
            for _ in range(int(count) + 1):
                points.append(value)
                value += by
            at = match.end()
        elif match := _PLAIN.match(text, at):
            points.append(number(match.group()))
            at = match.end()
        else:
            raise ValueError(f"unreadable points: {text[at:]!r}")
    return points


_DURATION = r"(?:(?:\d+(?:ms|[smhdwy]))+|0)"
_OFFSETS = re.compile(rf"([-+]?)({_DURATION})(?:([-+])({_DURATION}))?(?:x(\d+))?")


def start_offsets(text: str) -> list[Point]:
    """Start times as distances from their samples, in seconds: `-30s-1mx2`."""
    points: list[Point] = []
    for word in text.split():
        if gap := _GAP.fullmatch(word):
            points += [None] * int(gap.group(1) or 1)
            continue
        match = _OFFSETS.fullmatch(word)
        if match is None:
            raise ValueError(f"unreadable start offset: {word!r}")
        sign, first, direction, step, count = match.groups()
        value = seconds(first) * (-1 if sign == "-" else 1)
        by = seconds(step) * (-1 if direction == "-" else 1) if step else 0.0
        for _ in range(int(count or 0) + 1):
            points.append(value)
            value += by
    return points


def seconds(text: str) -> float:
    """A duration or a bare number of seconds."""
    sign, text = (-1, text[1:]) if text.startswith("-") else (1, text)
    (token, *rest) = tokens(text)
    if token.kind is not Kind.NUMBER or rest[0].kind is not Kind.END:
        raise ValueError(f"not a duration: {text!r}")
    return sign * token.value
