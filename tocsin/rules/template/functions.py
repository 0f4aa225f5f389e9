"""The functions that a rule's template may call: Go's own and Prometheus'.

Sources: the Go documentation of text/template; Prometheus' "Template reference". Compared with promtool.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import quote_plus, urlsplit

from tocsin.durations import parse_duration
from tocsin.errors import TocsinError

from .go_builtins import BUILTINS
from .go_format import format_float
from .numbers import humanize, humanize_1024, humanize_duration, humanize_percentage, to_float
from .patterns import matches, replace_all
from .times import format_time, to_time
from .values import AlertData, AnyMap, Duration, ExecutionFailed, QueryResult, QuerySample, StringMap, Time

ANY: Final[type] = object
"""A parameter that takes everything."""


@dataclass(frozen=True, slots=True)
class Function:
    """A callable with the Go types of its parameters; `rest` is the type of a variadic tail."""

    call: Callable[..., object]
    parameters: tuple[type, ...] = ()
    rest: type | None = None


def functions_of(data: AlertData | None) -> dict[str, Function]:
    """Every function by name. Without data they can be named, as for a syntax check, but not called."""
    named = {name: Function(call, parameters, rest) for name, (call, parameters, rest) in BUILTINS.items()}
    named |= _PURE
    if data is not None:
        named |= _of_alert(data)
    return named


Named: TypeAlias = dict[str, Function]


def _of_alert(data: AlertData) -> Named:
    """The functions that look at the evaluation: its time, its storage, its address."""
    return {
        "query": Function(lambda text: _query(data, text), (str,)),
        "now": Function(lambda: data.at.timestamp()),
        "pathPrefix": Function(lambda: urlsplit(data.external_url).path),
        "externalURL": Function(lambda: data.external_url),
    }


def _query(data: AlertData, text: str) -> QueryResult:
    try:
        found = data.query(text)
    except TocsinError as error:
        raise ExecutionFailed(str(error)) from error
    return QueryResult(QuerySample(StringMap(labels), value) for labels, value in found)


def _first(result: QueryResult) -> object:
    if not result:
        raise ExecutionFailed("first() called on vector with no elements")
    return result[0]


def _sort_by_label(label: str, result: QueryResult) -> QueryResult:
    return QueryResult(sorted(result, key=lambda sample: sample.labels.get(label, "").encode("utf-8", "surrogatepass")))


def _split_host_port(text: str) -> tuple[str, str] | None:
    """As net.SplitHostPort; None where it refuses."""
    colon = text.rfind(":")
    if colon < 0:
        return None
    if text.startswith("["):
        end = text.find("]")
        if end < 0 or end + 1 != colon:
            return None
        host, rest = text[1:end], text[end + 1 :]
        return None if "[" in host or "]" in rest or "[" in rest else (host, text[colon + 1 :])
    host = text[:colon]
    return None if ":" in host or "[" in text or "]" in text else (host, text[colon + 1 :])


def _strip_port(text: str) -> str:
    split = _split_host_port(text)
    return split[0] if split else text


def _strip_domain(text: str) -> str:
    host, port = _split_host_port(text) or (text, "")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        host = host.split(".")[0]
        if not port:
            return host
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return text


_WORD: Final = re.compile(r"\w(?:[\w\u0300-\u036f]|['’.:·](?=\w))*")


def _title(text: str) -> str:
    """The first letter of every word in upper case, the rest as it is."""
    return _WORD.sub(lambda found: found.group(0)[:1].title() + found.group(0)[1:], text)


def _parse_duration(text: str) -> float:
    negative = text.startswith("-")
    try:
        seconds = parse_duration(text[1:] if negative else text)
    except ValueError as error:
        raise ExecutionFailed(f'not a valid duration string: "{text}"') from error
    return -seconds if negative else seconds


def _to_time(value: object) -> Time:
    seconds = to_float(value)
    if seconds != seconds or seconds in (float("inf"), float("-inf")):
        raise ExecutionFailed("value is NaN or Inf")
    return to_time(seconds)


def _to_duration(value: object) -> Duration:
    seconds = to_float(value)
    if seconds != seconds or abs(seconds) > 9.2e9:
        raise ExecutionFailed(f"{format_float(seconds)} s is no duration that Go can hold")
    return Duration(int(seconds * 1e9))


def _humanize_timestamp(value: object) -> str:
    seconds = to_float(value)
    if seconds != seconds or seconds in (float("inf"), float("-inf")):
        return format_float(seconds, "g", 4)
    return format_time(to_time(seconds))


def _link(tab: int) -> Callable[[str], str]:
    return lambda expr: f"/graph?g0.expr={quote_plus(expr, safe='')}&g0.tab={tab}"


def _unavailable(*_: object) -> object:
    raise ExecutionFailed("there is nothing to look at here")


_PURE: Final[Named] = {
    # Replaced by `_of_alert` for rendering; named here so that a syntax check knows them.
    "query": Function(_unavailable, (str,)),
    "now": Function(_unavailable),
    "pathPrefix": Function(_unavailable),
    "externalURL": Function(_unavailable),
    "first": Function(_first, (QueryResult,)),
    "label": Function(lambda name, sample: sample.labels.get(name, ""), (str, QuerySample)),
    "value": Function(lambda sample: sample.value, (QuerySample,)),
    "strvalue": Function(lambda sample: sample.labels.get("__value__", ""), (QuerySample,)),
    "sortByLabel": Function(_sort_by_label, (str, QueryResult)),
    "args": Function(lambda *args: AnyMap({f"arg{n}": arg for n, arg in enumerate(args)}), (), ANY),
    "reReplaceAll": Function(replace_all, (str, str, str)),
    "match": Function(matches, (str, str)),
    "safeHtml": Function(lambda text: text, (str,)),
    "title": Function(_title, (str,)),
    "toUpper": Function(lambda text: text.upper(), (str,)),
    "toLower": Function(lambda text: text.lower(), (str,)),
    # Console templates have it; a rule has no other template to show. The specification wants it accepted, and empty.
    "tmpl": Function(lambda name, data: "", (str, ANY)),
    "graphLink": Function(_link(0), (str,)),
    "tableLink": Function(_link(1), (str,)),
    "stripPort": Function(_strip_port, (str,)),
    "stripDomain": Function(_strip_domain, (str,)),
    "humanize": Function(humanize, (ANY,)),
    "humanize1024": Function(humanize_1024, (ANY,)),
    "humanizeDuration": Function(humanize_duration, (ANY,)),
    "humanizePercentage": Function(humanize_percentage, (ANY,)),
    "humanizeTimestamp": Function(_humanize_timestamp, (ANY,)),
    "toTime": Function(_to_time, (ANY,)),
    "toDuration": Function(_to_duration, (ANY,)),
    "parseDuration": Function(_parse_duration, (str,)),
    "urlQueryEscape": Function(lambda text: quote_plus(text, safe=""), (str,)),
}
NAMES: Final = frozenset({*_PURE, *BUILTINS})
"""Every function that a rule's template may name."""
