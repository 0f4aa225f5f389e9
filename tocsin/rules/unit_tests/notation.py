"""promtool's notation of series: `up{job="db"}` and `1+1x10 _ stale _x5 -2 0x3`.

    1 2 3        values, one per interval
    _  _x5       nothing at that time; nothing five times
    stale        the series ends here
    4x3          4 and three more: 4 4 4 4
    1+2x3        1 and three more, each 2 higher: 1 3 5 7   (added up step by step, as promtool does)
    {{sum:3 …}}  a native histogram; {{…}}x3 and {{…}}+{{…}}x3 as for numbers (tocsin.promql.native.notation)

Source: Prometheus' documentation of unit tests for rules.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tocsin.model import METRIC_NAME, STALE, Labels
from tocsin.promql.native import Histogram
from tocsin.promql.native.notation import ITEM as HISTOGRAM
from tocsin.promql.native.notation import parse_run

from ..template.constants import unquote

MAX_VALUES: Final = 5_000_000
"""The most values of one series; 10 years of minutes."""
MAX_HISTOGRAMS: Final = 100_000
"""The most that one item makes."""

_NUMBER: Final = r"(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|(?:[iI][nN][fF]|[nN][aA][nN])(?!\w))"
_ITEM: Final = re.compile(
    rf"(?P<gap>_)(?:x(?P<gaps>\d+))?|(?P<stale>stale)"
    rf"|(?P<from>[+-]?{_NUMBER})(?:(?P<by>[+-]{_NUMBER})?x(?P<times>\d+))?"
)
_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_QUOTED: Final = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|`[^`]*`")
_SPACE: Final = re.compile(r"\s*")
_PIECE: Final = re.compile(r"\{\{[^}]*\}\}(?:[-+]\{\{[^}]*\}\})?\S*|\S+")


class BadNotation(Exception):
    """The text is not a series, or not its values."""


def parse_values(text: str) -> list[float | Histogram | None]:
    """One entry per interval: a value, STALE, or None for nothing. Raises BadNotation."""
    values: list[float | Histogram | None] = []
    for item in _PIECE.findall(text):
        if item.startswith("{{"):
            values += _histograms(item)
            continue
        found = _ITEM.fullmatch(item)
        if found is None:
            raise BadNotation(f"{item!r} is no value; write numbers, _, stale, 1x5 or 1+2x5")
        count = int(found["gaps"] or found["times"] or 0)
        if count + len(values) > MAX_VALUES:
            raise BadNotation(f"{item!r} makes more than {MAX_VALUES} values")
        if found["gap"]:
            values += [None] * (count if found["gaps"] else 1)
        elif found["stale"]:
            values.append(STALE)
        else:
            values += _run(float(found["from"]), float(found["by"] or 0), count)
    return values


def _run(first: float, by: float, more: int) -> list[float]:
    value, out = first, []
    for _ in range(more + 1):
        out.append(value)
        value += by
    return out


def _histograms(item: str) -> list[Histogram]:
    found = HISTOGRAM.fullmatch(item)
    if found is None:
        raise BadNotation(f"{item!r} is no native histogram; write {{{{sum:3 count:2 buckets:[1 1]}}}}")
    if int(found["times"] or 0) > MAX_HISTOGRAMS:
        raise BadNotation(f"{item!r} makes more than {MAX_HISTOGRAMS} histograms")
    try:
        return parse_run(found)
    except ValueError as error:
        raise BadNotation(f"{item!r}: {error}") from None


def parse_histogram(text: str) -> Histogram:
    """One histogram, as a sample is expected to be. Raises BadNotation."""
    found = _histograms(text.strip())
    if len(found) != 1:
        raise BadNotation(f"{text!r} is more than one histogram")
    return found[0]


def parse_series(text: str) -> Labels:
    """The labels of `name{a="b"}`, `__name__` included; the empty text is no labels. Raises BadNotation."""
    return _Scanner(text).series()


@dataclass
class _Scanner:
    text: str
    at: int = 0

    def series(self) -> Labels:
        labels: dict[str, str] = {}
        if name := self._take(_NAME):
            labels[METRIC_NAME] = name
        if self._sign("{"):
            self._pairs(labels)
        if self._rest():
            raise BadNotation(f"unexpected {self._rest()[:20]!r} in the series {self.text!r}")
        return Labels(labels)

    def _pairs(self, labels: dict[str, str]) -> None:
        while not self._sign("}"):
            quoted = self._take(_QUOTED)
            name = self._unquoted(quoted) if quoted else self._take(_LABEL)
            if not name:
                raise BadNotation(f"a label or '}}' is missing in the series {self.text!r}")
            if self._sign("="):
                value = self._take(_QUOTED)
                if not value:
                    raise BadNotation(f"the label {name} needs a quoted value in the series {self.text!r}")
                labels[name] = self._unquoted(value)
            elif quoted and METRIC_NAME not in labels:
                labels[METRIC_NAME] = name
            else:
                raise BadNotation(f"'=' is missing after {name} in the series {self.text!r}")
            if not self._sign(",") and not self._rest().startswith("}"):
                raise BadNotation(f"',' or '}}' is missing in the series {self.text!r}")

    def _rest(self) -> str:
        found = _SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return self.text[self.at :]

    def _sign(self, sign: str) -> bool:
        if self._rest().startswith(sign):
            self.at += 1
            return True
        return False

    def _take(self, pattern: re.Pattern[str]) -> str:
        self._rest()
        found = pattern.match(self.text, self.at)
        self.at = found.end() if found else self.at
        return found.group(0) if found else ""

    def _unquoted(self, source: str) -> str:
        value = unquote(source)
        if value is None:
            raise BadNotation(f"{source} is no string in the series {self.text!r}")
        return value
