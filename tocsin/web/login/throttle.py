"""Who tries too often waits: a few tries at once, then one in a while; by client address and by account.

    wait = throttle.take(key, now)       # seconds to wait; 0: it counted as a try and may go on
    throttle.forgive(key)                # it was a good one

A try counts when it begins, so that many at once are slowed like many in a row. An account is slowed and never locked:
its owner gets in, a little later, while somebody else tries. Memory is bounded; the key that waited longest goes first.

The rate is GCRA's: per key one moment, at which the key would have made up for all its tries (ATM Forum TM-4.0, §4.4).
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Final

from tocsin.model import Seconds

MOST_KEYS: Final = 10_000


class Throttle:
    """Tries, by key."""

    def __init__(self, *, burst: int, every: Seconds, most_keys: int = MOST_KEYS) -> None:
        """`burst` tries at once, then one `every` so many seconds."""
        self._every = timedelta(seconds=every)
        self._slack = self._every * (burst - 1)
        self._most = most_keys
        self._due: OrderedDict[str, datetime] = OrderedDict()

    def take(self, key: str, now: datetime) -> Seconds:
        """Count a try → 0; or, uncounted, the seconds until the next may be made."""
        due = max(self._due.get(key, now), now)
        # A clock that was set back must lock nobody out for as long.
        due = min(due, now + self._slack + self._every)
        wait = (due - self._slack - now).total_seconds()
        if wait > 0:
            return wait
        self._due[key] = due + self._every
        self._due.move_to_end(key)
        while len(self._due) > self._most:
            self._due.popitem(last=False)
        return 0.0

    def forgive(self, key: str) -> None:
        """Forget its tries."""
        self._due.pop(key, None)

    def __len__(self) -> int:
        return len(self._due)


def address_key(client: str) -> str:
    """What tries are counted by: an IPv4 address; of IPv6 the /64, which one customer has whole."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client[:64]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
