"""Expected and got, side by side, so that the difference meets the eye."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tocsin.model import METRIC_NAME, Labels
from tocsin.promql.native import Histogram
from tocsin.promql.native.notation import expression

from ..template.go_format import format_float

LabelsAndNotes = tuple[Labels, Labels]
Value = float | Histogram


def alerts_differ(expected: Sequence[LabelsAndNotes], got: Sequence[LabelsAndNotes]) -> str:
    """Empty when they agree; else a line per alert: `=` both, `-` expected and missing, `+` not expected."""
    left = sorted(expected, key=_order)
    rest = sorted(got, key=_order)
    if left == rest:
        return ""
    lines = []
    for pair in left:
        if pair in rest:
            rest.remove(pair)
            lines.append(f"  = {_alert(pair)}")
        else:
            lines.append(f"  - {_alert(pair)}")
    lines += [f"  + {_alert(pair)}" for pair in rest]
    return "\n".join([_legend(len(expected), len(got), "alert"), *lines])


def samples_differ(
    expected: Sequence[tuple[Labels, Value]],
    got: Sequence[tuple[Labels, Value]],
    same: Callable[[Value, Value], bool],
) -> str:
    """Empty when they agree; else a line per sample."""
    rest = sorted(got, key=lambda pair: tuple(pair[0].items()))
    lines = []
    differs = False
    for labels, value in sorted(expected, key=lambda pair: tuple(pair[0].items())):
        found = next((pair for pair in rest if pair[0] == labels and same(value, pair[1])), None)
        if found is not None:
            rest.remove(found)
            lines.append(f"  = {series_text(labels)} {_text(value)}")
        else:
            differs = True
            lines.append(f"  - {series_text(labels)} {_text(value)}")
    lines += [f"  + {series_text(labels)} {_text(value)}" for labels, value in rest]
    if not differs and not rest:
        return ""
    return "\n".join([_legend(len(expected), len(got), "sample"), *lines])


def _text(value: Value) -> str:
    return expression(value) if isinstance(value, Histogram) else format_float(value)


def series_text(labels: Labels) -> str:
    """`name{a="b"}`."""
    name, rest = labels.get(METRIC_NAME, ""), labels.without(METRIC_NAME)
    return f"{name}{rest!r}" if rest or not name else name


def _legend(expected: int, got: int, noun: str) -> str:
    return f"  expected {_counted(expected, noun)}, got {_counted(got, noun)} (- expected, + got, = both):"


def _counted(count: int, noun: str) -> str:
    return f"no {noun}" if not count else f"1 {noun}" if count == 1 else f"{count} {noun}s"


def _order(pair: LabelsAndNotes) -> tuple[tuple[tuple[str, str], ...], ...]:
    return tuple(pair[0].items()), tuple(pair[1].items())


def _alert(pair: LabelsAndNotes) -> str:
    labels, notes = pair
    return "\n      ".join([repr(labels), *(f"{name}: {text!r}" for name, text in notes.items())])
