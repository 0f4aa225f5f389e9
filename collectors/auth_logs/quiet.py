"""Changes by administrators that are everyday work, and page nobody."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol


class Everyday(Protocol):
    """Which change, from where; one of `quiet_admin_actions`."""

    @property
    def action(self) -> str:
        """As in tocsin_auth_admin_actions_total; *: every one."""

    @property
    def network(self) -> str:
        """An address or network; empty: everywhere."""


class Quiet:
    """The quiet list."""

    def __init__(self, rows: Sequence[Everyday] = ()) -> None:
        self._rows = [(row.action, ipaddress.ip_network(row.network) if row.network else None) for row in rows]
        self._of = lru_cache(maxsize=1024)(self._find)

    def holds(self, action: str, address: str) -> str:
        """yes, or no: the label `quiet`."""
        return self._of(action, address) if self._rows else "no"

    def _find(self, action: str, address: str) -> str:
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            ip = None
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        for known, network in self._rows:
            if known in ("*", action) and (network is None or (ip is not None and ip in network)):
                return "yes"
        return "no"
