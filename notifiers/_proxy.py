"""Which proxy the environment names for an address. aiohttp asks for none, slack_sdk knows no NO_PROXY."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def proxy_of(url: str) -> str | None:
    """The proxy for `url`, unless its host is this machine or excepted by NO_PROXY."""
    from urllib.request import getproxies, proxy_bypass  # here, as it is slow to import

    parts = urlsplit(url)
    if parts.hostname in LOOPBACK or proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)
