"""Sessions that change hands: another address and another kind of client at once. Pure.

Auth overwrites a session's address and user agent at each refresh, so that each sight is compared with the one before.
A phone that roams has a new address and its old browser, a browser that was updated has its old address, or, where both
happen, the same name without its version. A session that goes on in a web view and comes back has a client that it had
before. What is left is a session that somebody else goes on with. Of each session the last address and the last few
clients are kept, as hashes.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol

from collectors.auth_logs.naming import digest, network_of

ADDRESS: Final = "address"
AGENT: Final = "agent"
BOTH: Final = "both"
_CLIENTS: Final = 4
"""Kinds of client that are remembered of a session."""
_VERSION: Final = re.compile(r"/\S*|[\d._]+")


class Sight(NamedTuple):
    """A session as its row has it."""

    id: str
    user: str
    address: str
    agent: str
    at: datetime
    """Of its last refresh, or of its beginning."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """A session that is elsewhere now."""

    sight: Sight
    changed: str
    """address, agent, both."""


class Server(Protocol):
    """A server of one's own that goes on with its users' sessions; one of `servers`."""

    @property
    def network(self) -> str:
        """An address or network; empty: any."""

    @property
    def agent(self) -> str:
        """What its user agent holds; empty: any."""


class Sessions:
    """Where each was seen last."""

    def __init__(self, *, salt: bytes, most: int, servers: Sequence[Server] = ()) -> None:
        self._salt = salt
        self._most = most
        self._servers = [
            (ipaddress.ip_network(server.network) if server.network else None, server.agent.lower())
            for server in servers
        ]
        self._seen: dict[str, tuple[str, tuple[str, ...], float]] = {}
        """By hashed id: network, clients (the newest last), when."""

    def take(self, sights: Iterable[Sight]) -> list[Move]:
        """Remember them; those that moved since they were seen before."""
        moves = [move for sight in sights if (move := self._take(sight)) is not None]
        if len(self._seen) > self._most:
            kept = sorted(self._seen.items(), key=lambda item: item[1][2])[-self._most :]
            self._seen = dict(kept)
        return moves

    def _take(self, sight: Sight) -> Move | None:
        network = network_of(sight.address)
        # What Auth did not write down is unknown and no change; a server's sight is as if it had not been.
        if not network or not sight.agent or self._is_server(sight):
            return None
        key, place, client = (self._hash(value) for value in (sight.id, network, client_of(sight.agent)))
        before = self._seen.get(key)
        at = sight.at.timestamp()
        if before is None:
            self._seen[key] = (place, (client,), at)
            return None
        was, clients, seen_at = before
        if at < seen_at:
            return None  # read twice, and the other read was newer
        self._seen[key] = (place, (*(known for known in clients if known != client), client)[-_CLIENTS:], at)
        moved, other = place != was, client not in clients
        if not moved and not other:
            return None
        return Move(sight=sight, changed=BOTH if moved and other else ADDRESS if moved else AGENT)

    def _is_server(self, sight: Sight) -> bool:
        if not self._servers:
            return False
        ip = _address(sight.address)
        agent = sight.agent.lower()
        return any((network is None or ip in network) and word in agent for network, word in self._servers)

    def _hash(self, value: str) -> str:
        return digest(self._salt, value, 6).hex()

    def to_json(self) -> list[Any]:
        """What `load` takes."""
        return [[key, place, " ".join(clients), at] for key, (place, clients, at) in self._seen.items()]

    def load(self, rows: Iterable[Any]) -> None:
        """What `to_json` gave. Raises ValueError or TypeError for anything else."""
        for key, place, clients, at in rows:
            self._seen[str(key)] = (str(place), tuple(str(clients).split()), float(at))


@lru_cache(maxsize=4096)
def client_of(agent: str) -> str:
    """A user agent without its versions: an update is no other client."""
    return " ".join(_VERSION.sub(" ", agent[:512]).lower().split())


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    ip = ipaddress.ip_address(text)
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return mapped if mapped is not None else ip
