"""The values that a template handles, and the Go types that they stand for in messages.

str, bool, int and float stand for themselves; None is Go's nil or "no value".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from tocsin.model import Labels


class StringMap(dict[str, str]):
    """map[string]string: a missing key is the empty string."""


class AnyMap(dict[str, object]):
    """map[string]any: a missing key is no value."""


class QueryResult(list["QuerySample"]):
    """What `query` returns."""


@dataclass(frozen=True, slots=True)
class QuerySample:
    """One sample of a `query`: `.Labels` (with `__name__`) and `.Value`."""

    labels: StringMap
    value: float

    def fields(self) -> Mapping[str, object]:
        return {"Labels": self.labels, "Value": self.value}


@dataclass(frozen=True, slots=True)
class Duration:
    """time.Duration, in nanoseconds."""

    nanoseconds: int


@dataclass(frozen=True, slots=True)
class Time:
    """time.Time in UTC."""

    at: datetime


@dataclass(frozen=True, slots=True)
class Missing:
    """No argument was piped in."""


MISSING: Final = Missing()

Query: TypeAlias = Callable[[str], list[tuple[Labels, float]]]
"""PromQL at the evaluation's time → (labels with `__name__`, value). May raise TocsinError."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertData:
    """What a label or annotation template is told: `.Labels`, `.Value`, `.ExternalLabels`, `.ExternalURL`."""

    labels: Mapping[str, str]
    value: float
    external_labels: Mapping[str, str]
    external_url: str
    at: datetime
    query: Query

    def fields(self) -> Mapping[str, object]:
        return {
            "Labels": StringMap(self.labels),
            "ExternalLabels": StringMap(self.external_labels),
            "ExternalURL": self.external_url,
            "Value": self.value,
        }


class ExecutionFailed(Exception):
    """The template can't be rendered with this data; the message is Go's."""


def type_name(value: object) -> str:
    """The Go type, as messages name it."""
    match value:
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float64"
        case str():
            return "string"
        case StringMap():
            return "map[string]string"
        case AnyMap():
            return "map[string]interface {}"
        case QueryResult():
            return "template.queryResult"
        case QuerySample():
            return "*template.sample"
        case Duration():
            return "*time.Duration"
        case Time():
            return "*time.Time"
        case AlertData():
            return (
                "struct { Labels map[string]string; ExternalLabels map[string]string; "
                "ExternalURL string; Value interface {} }"
            )
    return "<nil>"


def truth(value: object) -> bool:
    """Go's truth: false, 0, nil and the empty string, map or list are false."""
    if isinstance(value, float):
        return value != 0
    if isinstance(value, (AlertData, QuerySample, Time)):
        return True
    if isinstance(value, Duration):
        return value.nanoseconds != 0
    return bool(value)
