"""Text that came from elsewhere made presentable, and times and durations as people say them. Pure."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime, timedelta, tzinfo
from typing import Final
from urllib.parse import urlsplit

_URL_LIMIT: Final = 2000
_BENDS_A_LINK: Final = frozenset(' <>|"\\^`{}')
_SPACES: Final = re.compile(r"\s+")


def one_line(text: str, limit: int) -> str:
    """`text` on one line, without control, direction or broken characters, at most `limit` long."""
    # A label may be megabytes long; four times the limit shows whether something is cut, even where much vanishes.
    clean = "".join(_visible(sign) for sign in text[: limit * 4])
    return clip(_SPACES.sub(" ", clean).strip(), limit)


def _visible(sign: str) -> str:
    if sign.isspace():
        return " "
    category = unicodedata.category(sign)
    if category == "Cs":
        return "\ufffd"
    return "" if category in {"Cc", "Cf"} and sign != "\u200d" else sign


def clip(text: str, limit: int) -> str:
    """At most `limit` characters, with an ellipsis where something was cut."""
    return text if len(text) <= limit else text[: max(limit - 1, 0)].rstrip() + "…"


def human(seconds: float) -> str:
    """A duration as people say it, in two units at most: 45 s, 3 min, 2 h 10 min, 3 d 4 h."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86_400:
        hours, minutes = divmod(whole // 60, 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(whole // 3600, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def age(then: datetime, now: datetime) -> str:
    """How long ago, in words."""
    return human(max(now - then, timedelta(0)).total_seconds())


def clock_time(at: datetime | None, now: datetime, zone: tzinfo) -> str:
    """`14:02 CET`, with the day where it is not today's; empty for None."""
    if at is None:
        return ""
    local = at.astimezone(zone)
    day = "" if local.date() == now.astimezone(zone).date() else f"{local.day} {local:%b} "
    return f"{day}{local:%H:%M} {local.tzname() or 'UTC'}"


def safe_url(url: str) -> str:
    """`url` with every character that could end or bend a link percent-encoded; empty unless it is http(s)."""
    try:
        parts = urlsplit(url.strip())
        good = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return ""
    if not good or any(unicodedata.category(sign).startswith("C") for sign in url.strip()):
        return ""
    safe = "".join(f"%{ord(sign):02X}" if sign in _BENDS_A_LINK else sign for sign in url.strip())
    return safe if len(safe) <= _URL_LIMIT else ""
