"""Go's fmt: how values print, and printf.

`{{ $value }}` prints as Go's %v: the shortest digits that read back, with an exponent below 1e-4 and from 1e+06 on.
A verb that does not fit says so in the text, as in Go:
`%!d(float64=1.5)`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from .lex import quote
from .times import format_duration, format_time
from .values import AlertData, AnyMap, Duration, QueryResult, QuerySample, StringMap, Time, type_name

_DIRECTIVE: Final = re.compile(r"%([-+# 0]*)(\*|\d+)?(?:\.(\*|\d+)?)?", re.DOTALL)
_POSITIONAL_BELOW: Final = 6
"""strconv: from this power of ten on, the shortest form has an exponent."""
MAX_WIDTH: Final = 1000
"""Wider padding than this is a mistake, or an attack."""


def format_float(value: float, verb: str = "g", precision: int = -1) -> str:
    """As strconv.FormatFloat: verb e, f, g (or upper case); precision -1 is "as many digits as it takes"."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if precision >= 0:
        return f"{value:.{precision}{verb}}" if verb not in "gG" or precision else f"{value:.1{verb}}"
    lower = verb.lower()
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    figures = "".join(map(str, digits))
    point = len(figures) + int(exponent) if value else 1
    head = "-" if sign else ""
    if lower == "f" or (lower == "g" and -4 <= point - 1 < _POSITIONAL_BELOW):
        return head + _positional(figures, point)
    mantissa = figures[0] + (f".{figures[1:]}" if len(figures) > 1 else "")
    power = point - 1
    return f"{head}{mantissa}{'E' if verb.isupper() else 'e'}{'-' if power < 0 else '+'}{abs(power):02d}"


def _positional(figures: str, point: int) -> str:
    if point <= 0:
        return "0." + "0" * -point + figures
    if point >= len(figures):
        return figures + "0" * (point - len(figures))
    return f"{figures[:point]}.{figures[point:]}"


def printed(value: object) -> str:
    """As fmt.Print writes one value (%v)."""
    match value:
        case None:
            return "<no value>"
        case bool():
            return "true" if value else "false"
        case float():
            return format_float(value)
        case Duration():
            return format_duration(value)
        case Time():
            return format_time(value)
        case QuerySample():
            return "{" + f"{printed(value.labels)} {printed(value.value)}" + "}"
        case AlertData():
            return "{" + " ".join(printed(item) for item in value.fields().values()) + "}"
        case StringMap() | AnyMap():
            return "map[" + " ".join(f"{key}:{printed(value[key])}" for key in sorted(value)) + "]"
        case QueryResult():
            return "[" + " ".join(printed(item) for item in value) + "]"
    return str(value)


def print_all(values: Sequence[object]) -> str:
    """fmt.Sprint: a space between operands when neither is a string."""
    out: list[str] = []
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            out.append(" ")
        out.append("<nil>" if value is None else printed(value))
    return "".join(out)


class _Printf:
    """One call of printf: walks the format, takes arguments as the verbs ask for them."""

    def __init__(self, pattern: str, args: Sequence[object]) -> None:
        self._pattern = pattern
        self._args = args
        self._taken = 0

    def text(self) -> str:
        out: list[str] = []
        at = 0
        while (percent := self._pattern.find("%", at)) >= 0:
            out.append(self._pattern[at:percent])
            found = _DIRECTIVE.match(self._pattern, percent)
            assert found is not None
            piece, at = self._directive(found)
            out.append(piece)
        out.append(self._pattern[at:])
        if self._taken < len(self._args):
            extra = ", ".join(_typed(arg) for arg in self._args[self._taken :])
            out.append(f"%!(EXTRA {extra})")
        return "".join(out)

    def _directive(self, found: re.Match[str]) -> tuple[str, int]:
        flags, width_text, precision_text = found.groups()
        has_precision = "." in found.group(0)
        end = found.end()
        if end >= len(self._pattern):
            return "%!(NOVERB)", end
        verb = self._pattern[end]
        width, bad_width = self._size(width_text, "%!(BADWIDTH)")
        precision, bad_precision = self._size(precision_text, "%!(BADPREC)")
        problem = bad_width + bad_precision
        if verb == "%":
            return problem + "%", end + 1
        if self._taken >= len(self._args):
            return f"{problem}%!{verb}(MISSING)" if verb != "!" else "%!!(NOVERB)", end + 1
        arg = self._args[self._taken]
        self._taken += 1
        if width is not None and width < 0:
            flags, width = flags + "-", -width
        digits = (precision or 0) if has_precision else None
        text, is_number = _verb(verb, arg, flags, digits)
        if text is None:
            inner = _pad("<nil>" if arg is None else printed(arg), False, flags, width)
            return f"{problem}%!{verb}(" + ("<nil>" if arg is None else f"{type_name(arg)}={inner}") + ")", end + 1
        return problem + _pad(text, is_number, flags, width), end + 1

    def _size(self, text: str | None, problem: str) -> tuple[int | None, str]:
        if text is None:
            return None, ""
        if text != "*":
            return min(int(text), MAX_WIDTH), ""
        if self._taken < len(self._args):
            arg = self._args[self._taken]
            self._taken += 1
            if isinstance(arg, int) and not isinstance(arg, bool) and abs(arg) <= MAX_WIDTH:
                return arg, ""
        return None, problem


def printf(pattern: str, args: Sequence[object]) -> str:
    """fmt.Sprintf."""
    return _Printf(pattern, args).text()


def _typed(arg: object) -> str:
    return "<nil>" if arg is None else f"{type_name(arg)}={printed(arg)}"


def _pad(text: str, is_number: bool, flags: str, width: int | None) -> str:
    if width is None or len(text) >= width:
        return text
    if "-" in flags:
        return text.ljust(width)
    if "0" in flags and is_number and text.lstrip("+-")[:1].isdigit():
        sign = text[: len(text) - len(text.lstrip("+- "))]
        return sign + text[len(sign) :].rjust(width - len(sign), "0")
    return text.rjust(width)


def _verb(verb: str, arg: object, flags: str, precision: int | None) -> tuple[str | None, bool]:
    """(text, whether zeros may pad it); None where the verb does not fit the value."""
    if verb == "T":
        return type_name(arg), False
    match arg:
        case None:
            return ("<nil>" if verb == "v" else None), False
        case bool():
            return (printed(arg) if verb in "tv" else None), False
        case float():
            return _float_verb(verb, arg, flags, precision), not math.isinf(arg) and not math.isnan(arg)
        case int():
            return _int_verb(verb, arg, flags, precision), True
        case str():
            return _string_verb(verb, arg, precision), False
        case Duration() if verb == "d":
            return str(arg.nanoseconds), True
    return (printed(arg) if verb in "vs" else None), False


def _signed(text: str, flags: str) -> str:
    if text.startswith(("-", "+")):
        return text
    return ("+" if "+" in flags else " " if " " in flags else "") + text


def _float_verb(verb: str, value: float, flags: str, precision: int | None) -> str | None:
    if verb in "eEfF":
        text = format_float(value, verb, 6 if precision is None else precision)
    elif verb in "gGv":
        text = format_float(value, "G" if verb == "G" else "g", -1 if precision is None else precision)
    elif verb in "xX":
        text = _hexadecimal(value) if math.isfinite(value) else format_float(value)
        text = text.upper() if verb == "X" else text
    else:
        return None
    # In %+v the plus asks for field names, not for a sign.
    return _signed(text, flags.replace("+", "") if verb == "v" else flags)


def _hexadecimal(value: float) -> str:
    mantissa, power = value.hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}p{power[0]}{power[1:].rjust(2, '0')}"


def _int_verb(verb: str, value: int, flags: str, precision: int | None) -> str | None:
    forms = {"d": "d", "v": "d", "b": "b", "o": "o", "x": "x", "X": "X"}
    if verb == "c":
        return chr(value) if 0 <= value <= 0x10FFFF else "�"
    if verb == "q":
        return f"'{chr(value)}'" if 0 <= value <= 0x10FFFF else "'�'"
    if verb == "U":
        return f"U+{value:04X}"
    if verb not in forms:
        return None
    text = format(abs(value), forms[verb]).rjust(precision or 0, "0")
    if "#" in flags and verb in "xXbo":
        text = {"x": "0x", "X": "0X", "b": "0b", "o": "0"}[verb] + text
    return _signed(("-" if value < 0 else "") + text, flags.replace("+", "") if verb == "v" else flags)


def _string_verb(verb: str, text: str, precision: int | None) -> str | None:
    cut = text if precision is None else text[:precision]
    match verb:
        case "s" | "v":
            return cut
        case "q":
            return quote(cut)
        case "x":
            return cut.encode("utf-8", "surrogatepass").hex()
        case "X":
            return cut.encode("utf-8", "surrogatepass").hex().upper()
    return None
