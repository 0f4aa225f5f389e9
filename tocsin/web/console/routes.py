"""Every page of the console."""

from __future__ import annotations

from tocsin.web.console.allowlist import allowlist_page_routes
from tocsin.web.console.incidents import incident_page_routes
from tocsin.web.console.overview import overview_routes
from tocsin.web.console.silences import silence_page_routes
from tocsin.web.gate import GuardedRoute
from tocsin.web.inside import Inside


def console_routes(inside: Inside) -> list[GuardedRoute]:
    """All of them."""
    return [
        *overview_routes(inside), *incident_page_routes(inside), *silence_page_routes(inside),
        *allowlist_page_routes(inside),
    ]  # fmt: skip
