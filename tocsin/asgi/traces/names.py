"""What a span shows of a path or an address: enough to find the place, nothing of who asked.

    /campaigns/17/people/ana      of /campaigns/{id}/people/{name}     →   /campaigns/17/people/***
    https://k:s@hooks.example/services/T0/B0/Xk2…?token=…              →   https://hooks.example/services/T0/B0/***

Of a request's own path the route's fixed parts, numbers and UUIDs stay. Of an address that is called, short parts stay;
credentials, query and fragment go.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

MASK: Final = "***"
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "QUERY"})
"""What is known to OpenTelemetry's conventions; others are `_OTHER`, so that no client makes names."""
OTHER_METHOD: Final = "_OTHER"
_PLAIN: Final = re.compile(r"\d{1,20}|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_SHORT: Final = re.compile(r"[A-Za-z0-9._-]{0,15}|[A-Za-z_-]{1,40}")
_MOST: Final = 300


def method_of(method: str) -> str:
    """One of METHODS, or OTHER_METHOD."""
    return method if method in METHODS else OTHER_METHOD


def shown_path(path: str, template: str) -> str:
    """A request's path, of a route that is known by its template."""
    fixed = template.split("/")
    parts = path[:_MOST].split("/")
    if len(parts) == len(fixed):
        both = zip(parts, fixed, strict=True)
        kept = [part if part == same or _PLAIN.fullmatch(part) else MASK for part, same in both]
    else:  # a part of the template takes in several: its own say where it is
        alike = 0
        while alike < min(len(parts), len(fixed)) and parts[alike] == fixed[alike]:
            alike += 1
        kept = [*parts[:alike], MASK]
    return "/".join(kept)


def shown_url(url: Any) -> tuple[str, str, int]:
    """(url.full, server.address, server.port) of an address that is called."""
    parts = urlsplit(str(url))
    host = parts.hostname or ""
    try:
        port = parts.port or (443 if parts.scheme in ("https", "wss") else 80)
    except ValueError:
        port = 0
    netloc = parts.netloc.rpartition("@")[2]
    path = "/".join(part if _SHORT.fullmatch(part) else MASK for part in parts.path[:_MOST].split("/"))
    return f"{parts.scheme}://{netloc}{path}", host, port
