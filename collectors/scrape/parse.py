"""Prometheus text format 0.0.4 and OpenMetrics 1.0 → rows. Pure.

A target exposes the same series at every scrape, so `name{labels}` as written is looked up in a dictionary, and only a
series that was never seen is taken apart. Formats: prometheus.io/docs/instrumenting/exposition_formats and
prometheus.io/docs/specs/om/open_metrics_spec; names of any UTF-8 text in quotes as of Prometheus 3.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from tocsin.model import Labels, Seconds

_TYPES: Final = frozenset(
    ("counter", "gauge", "histogram", "summary", "untyped", "unknown", "gaugehistogram", "stateset", "info")
)
_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_QUOTED_NAME: Final = re.compile(r'\s*"((?:[^"\\]|\\.)*)"\s*(,|})')
_END: Final = re.compile(r"\s*}")
_LABEL: Final = re.compile(r'\s*(?:([a-zA-Z_][a-zA-Z0-9_]*)|"((?:[^"\\]|\\.)*)")\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,|})')
_TAIL: Final = re.compile(r"[ \t]+(\S+)(?:[ \t]+([^\s#]\S*))?[ \t]*(#.*)?\r?")
_ESCAPE: Final = re.compile(r'\\([\\n"])')
_RISING: Final = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("_sum", "_count"),
}
"""Type → the suffixes of its series that count up from zero."""
_KEPT: Final = 1000


class BrokenLine(ValueError):
    """The exposition can't be read; the message names the line."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(f"line {line}: {what}")


@dataclass(slots=True, eq=False)
class Known:
    """A series as a target writes it, taken apart once."""

    name: str
    labels: Labels
    """With the target's own."""
    family: str
    """The metric's name as in its TYPE line; empty where that is not known."""
    rises: bool
    """It counts up from zero: a counter, or part of a histogram or summary."""
    tells_created: bool
    """A `_created` line: when the family's series with these labels began."""
    group: tuple[str, Labels]
    """The metric, and its labels without `le` and `quantile`: what one `_created` line is about."""
    born: datetime | None = None
    """When it was zero, where that is known."""
    seen: int = 0
    """The last good scrape that had it."""


@dataclass(slots=True, kw_only=True)
class Exposition:
    """What one scrape has read."""

    open_metrics: bool
    rows: list[tuple[Known, float, Seconds | None]] = field(default_factory=list)
    """(series, value, timestamp in seconds since the epoch)"""
    announced: set[str] = field(default_factory=set)
    """Families that have a TYPE line or a series."""
    line: int = 0
    ended: bool = False


class Parser:
    """Reads one target's expositions. `relabel` turns exposed labels into the stored ones."""

    def __init__(self, relabel: Callable[[Mapping[str, str]], Labels]) -> None:
        self._relabel = relabel
        self._known: dict[str, Known] = {}
        self._types: dict[str, str] = {}

    def feed(self, exposition: Exposition, lines: Iterable[str]) -> None:
        """Read more lines. Raises BrokenLine."""
        known, rows = self._known, exposition.rows
        for line in lines:
            exposition.line += 1
            if not line or line[0] == "#":
                self._comment(exposition, line)
                continue
            end = line.rfind("} ") + 1 or line.find(" ")
            series = known.get(line[:end]) if end > 0 else None
            rest = line[end:]
            if series is None or "_" in rest or exposition.ended:
                rows.append(self._slowly(exposition, line))
                continue
            try:
                rows.append((series, float(rest), None))
            except ValueError:
                rows.append(self._slowly(exposition, line))

    def finish(self, exposition: Exposition) -> None:
        """The body is at its end. Raises BrokenLine when that can't be all of it."""
        if exposition.open_metrics and not exposition.ended:
            raise BrokenLine(exposition.line, "OpenMetrics ends with '# EOF', and this doesn't: the answer was cut off")
        exposition.announced.update(known.family for known, _, _ in exposition.rows)
        exposition.announced.discard("")

    def forget(self, scrape: int) -> None:
        """Let go of series that were not seen of late, when they are many."""
        if len(self._known) <= _KEPT:
            return
        recent = {key: known for key, known in self._known.items() if known.seen == scrape}
        if len(recent) * 2 < len(self._known):
            self._known = recent

    def _comment(self, exposition: Exposition, line: str) -> None:
        words = line.split(None, 3)
        if exposition.ended and words:
            raise BrokenLine(exposition.line, "text after '# EOF'")
        if len(words) >= 2 and words[1] == "EOF" and exposition.open_metrics:
            exposition.ended = True
        elif len(words) >= 3 and words[1] == "TYPE":
            name, kind = _type_line(line)
            if kind not in _TYPES:
                raise BrokenLine(exposition.line, f"{kind!r} is no metric type")
            if self._types.setdefault(name, kind) != kind:
                # What was taken apart before was taken for another type.
                self._types[name] = kind
                self._known.clear()
            exposition.announced.add(name)

    def _slowly(self, exposition: Exposition, line: str) -> tuple[Known, float, Seconds | None]:
        """A line with a timestamp, an exemplar, unusual spaces, or a series that is not known yet."""
        number = exposition.line
        if exposition.ended:
            raise BrokenLine(number, "text after '# EOF'")
        name, labels, end = _series(line, number)
        tail = _TAIL.fullmatch(line, end)
        if tail is None or (tail.group(3) and not exposition.open_metrics):
            raise BrokenLine(number, f"no value and timestamp can be read after the series: {line[end : end + 60]!r}")
        if tail.group(3) and not tail.group(3)[1:].lstrip().startswith("{"):
            raise BrokenLine(number, f"not an exemplar: {tail.group(3)[:60]!r}")
        series = self._known.get(line[:end])
        if series is None:
            series = self._known[line[:end]] = self._taken_apart(name, labels)
        value = _number(tail.group(1), number, "value")
        if tail.group(2) is None:
            return series, value, None
        stamp = _number(tail.group(2), number, "timestamp")
        return series, value, stamp if exposition.open_metrics else stamp / 1000

    def _taken_apart(self, name: str, exposed: Mapping[str, str]) -> Known:
        labels = self._relabel(exposed)
        family, role = self._role_of(name)
        return Known(
            name=name,
            labels=labels,
            family=family,
            rises=role == "rises",
            tells_created=role == "created",
            # The text format gives a counter's TYPE the name with `_total`, and its `_created` line the one without.
            group=(family.removesuffix("_total"), labels.without("le", "quantile")),
        )

    def _role_of(self, name: str) -> tuple[str, str]:
        """(the metric's name as in its TYPE line or "", what the series is of it: rises, created or "")."""
        types = self._types
        if types.get(name) == "counter":
            return name, "rises"
        stem, _, suffix = name.rpartition("_")
        if suffix == "created":
            for family in (stem, f"{stem}_total"):
                if types.get(family) in _RISING:
                    return family, "created"
        if f"_{suffix}" in _RISING.get(types.get(stem, ""), ()):
            return stem, "rises"
        return (name if name in types else stem if stem in types else ""), ""


def _type_line(line: str) -> tuple[str, str]:
    """(name, type) of `# TYPE name type`; the name may stand in quotes."""
    if quoted := _QUOTED.match(line, line.index("TYPE") + 5):
        return _unescaped(quoted.group(1)), line[quoted.end() :].strip()
    words = line.split()
    return words[2], words[3] if len(words) == 4 else ""


def _series(line: str, number: int) -> tuple[str, dict[str, str], int]:
    """(name, labels, where the series ends) at the begin of `line`."""
    match = _NAME.match(line)
    name, at = (match.group(), match.end()) if match else ("", 0)
    labels: dict[str, str] = {}
    brace = at
    while brace < len(line) and line[brace] in " \t":
        brace += 1
    if brace >= len(line) or line[brace] != "{":
        if not name:
            raise BrokenLine(number, f"no metric name: {line[:60]!r}")
        return name, labels, at
    at = brace + 1
    quoted = _QUOTED_NAME.match(line, at) if not name else None
    if quoted:
        name, at = _unescaped(quoted.group(1)), quoted.end()
        if quoted.group(2) == "}":
            return name, labels, at
    if not name:
        raise BrokenLine(number, f"no metric name: {line[:60]!r}")
    while True:
        if end := _END.match(line, at):
            return name, labels, end.end()
        label = _LABEL.match(line, at)
        if label is None:
            raise BrokenLine(number, f'not a label of the form name="value": {line[at : at + 60]!r}')
        label_name = label.group(1) or _unescaped(label.group(2) or "")
        if label_name in labels or label_name in ("", "__name__"):
            raise BrokenLine(number, f"label {label_name!r} is there twice or may not be used")
        labels[label_name] = _unescaped(label.group(3))
        at = label.end()
        if label.group(4) == "}":
            return name, labels, at


def _number(text: str, number: int, what: str) -> float:
    try:
        if "_" in text:  # Python's own digit separator is no part of the format
            raise ValueError
        return float(text)
    except ValueError:
        raise BrokenLine(number, f"{what} {text[:60]!r} is no number") from None


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: "\n" if match.group(1) == "n" else match.group(1), text) if "\\" in text else text
