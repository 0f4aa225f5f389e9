"""The types of values that several sections share, each with its own message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import time
from typing import Annotated, Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from tocsin.incidents.hours import Cron

LABEL: Final = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_TIME: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")


def one_or_many(value: Any) -> Any:
    """A lone text or mapping as a tuple of one."""
    return (value,) if isinstance(value, (str, Mapping)) else value


def is_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("not an address; write it like https://tocsin.example")
    return value.rstrip("/")


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"no such time zone: {value!r}; write it like Europe/Berlin or UTC") from None
    return value


def _label_names(labels: dict[str, str]) -> dict[str, str]:
    for name in labels:
        if not LABEL.fullmatch(name):
            raise ValueError(f"not a label name: {name!r}; use letters, digits and _, not beginning with a digit or __")
    return labels


def _wall_time(value: Any) -> Any:
    if isinstance(value, str) and (found := _TIME.fullmatch(value.strip())):
        return time(int(found[1]), int(found[2]))
    if isinstance(value, time):
        return value
    raise ValueError(f"not a time of day: {value!r}; write it like 09:00")


def _begins(value: str) -> str:
    return Cron.parse(value).text


Names = Annotated[tuple[str, ...], BeforeValidator(one_or_many)]
"""One name or a list of them."""
Url = Annotated[str, AfterValidator(is_url)]
Zone = Annotated[str, AfterValidator(_zone)]
LabelSet = Annotated[dict[str, str], AfterValidator(_label_names)]
WallTime = Annotated[time, BeforeValidator(_wall_time)]
Begins = Annotated[str, AfterValidator(_begins)]
"""A cron expression."""


class Section(BaseModel):
    """Unknown keys are errors, values don't change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
