"""What is counted by address, by user and by second factor: few series, hashed, whatever the traffic.

An address that fails has a series of its own while it holds a place (`top`), and so has a user when Auth's hook says
whose password was wrong. How many users an address fails for, how many addresses fail for a user, and how many of each
there are in all, is estimated in sliding windows (`recent`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from collectors.auth_logs import declarations as are
from collectors.auth_logs.events import Event, Kind
from collectors.auth_logs.naming import digest, hashed, network_of
from collectors.auth_logs.recent import HORIZON, Recent, Spread
from collectors.auth_logs.samples import from_zero, gauge, iso, time_of
from collectors.auth_logs.top import Top
from tocsin.model import Sample, Seconds

_ALL_CELLS: Final = 8192
_WINDOWS: Final = {"15m": 900.0, "30m": 1800.0, "1h": HORIZON}
_TIDY: Final[Seconds] = 60.0
"""How often what left the longest window is let go of."""
_Values = tuple[str, ...]


class Subjects:
    """The counts that name somebody."""

    def __init__(self, *, salt: bytes, top_ips: int, top_users: int, idle: Seconds, show_ips: bool) -> None:
        self._salt = salt
        self._show_ips = show_ips
        self._ips = Top(top_ips, idle)
        self._factors = Top(top_ips, idle)
        self._users = Top(top_users, idle)
        self._granted: dict[str, tuple[int, datetime | None]] = {}
        """By address with a place: sign-ins, and when there was none."""
        self._users_of_ip = Spread(top_ips)
        self._ips_of_user = Spread(top_users)
        self._failing_ips = Recent(_ALL_CELLS)
        self._failing_users = Recent(_ALL_CELLS)
        self._forgot: Seconds = 0.0
        # Since the last settle:
        self._failed_ips: defaultdict[str, Counter[_Values]] = defaultdict(Counter)
        self._failed_factors: Counter[str] = Counter()
        self._granted_ips: Counter[str] = Counter()
        self._attempts: Counter[tuple[str, str]] = Counter()
        """(user, address) by wrong passwords."""

    def take(self, event: Event, count: int = 1) -> None:
        """Count `count` lines that refused or signed in somebody."""
        meaning = event.meaning
        if meaning.failure:
            self._failed_ips[event.address][meaning.flow, meaning.failure] += count
            if event.factor:
                self._failed_factors[event.factor] += count
        elif meaning.granted:
            self._granted_ips[event.address] += count
        elif meaning.kind is Kind.ATTEMPT and event.user:
            self._attempts[event.user, event.address] += count

    def settle(self, at: datetime, born: datetime | None) -> None:
        """A poll has read what there was; None: it is history, and nothing of it was seen just now."""
        addresses: defaultdict[str, Counter[_Values]] = defaultdict(Counter)
        for address, hits in self._failed_ips.items():
            addresses[self.shown(address)].update(hits)
        users: Counter[str] = Counter()
        pairs: set[tuple[str, str]] = set()
        for (user, address), count in self._attempts.items():
            users[name := self._hashed("user", user)] += count
            pairs.add((name, self.shown(address)))
        self._ips.take(addresses, at, born)
        self._users.take({user: {(): count} for user, count in users.items()}, at, born)
        factors: dict[str, dict[_Values, int]] = {
            self._hashed("factor", factor): {(): count} for factor, count in self._failed_factors.items()
        }
        self._factors.take(factors, at, born)
        self._grant(born)
        if born is not None:
            signing_in = [address for address, hits in addresses.items() if any(flow == "sign_in" for flow, _ in hits)]
            self._see(signing_in, pairs, at.timestamp())
        self._forget(at.timestamp())
        for pending in (self._failed_ips, self._failed_factors, self._granted_ips, self._attempts):
            pending.clear()

    def _grant(self, born: datetime | None) -> None:
        self._granted = {address: row for address, row in self._granted.items() if address in self._ips}
        for address, count in self._granted_ips.items():
            if (shown := self.shown(address)) in self._ips:
                before, since = self._granted.get(shown, (0, born))
                self._granted[shown] = (before + count, since)

    def _see(self, addresses: list[str], pairs: set[tuple[str, str]], now: Seconds) -> None:
        for address in addresses:
            self._failing_ips.see(self._member(address), now)
        for user, address in sorted(pairs):
            self._failing_users.see(self._member(user), now)
            self._users_of_ip.see(address, self._member(user), now)
            self._ips_of_user.see(user, self._member(address), now)

    def _forget(self, now: Seconds) -> None:
        if not 0 <= now - self._forgot < _TIDY:
            self._forgot = now
            for recent in (self._failing_ips, self._failing_users, self._users_of_ip, self._ips_of_user):
                recent.forget(now - HORIZON)

    def samples(self, at: datetime, polled_before: datetime | None) -> Iterator[Sample]:
        """`polled_before`: when the poll before this one was."""
        for hit in self._ips:
            yield from from_zero(are.FAILURES, (*hit.labels, hit.subject), hit.count, at, hit.born, polled_before)
        for hit in self._factors:
            yield from from_zero(are.MFA_FAILURES, (hit.subject,), hit.count, at, hit.born, polled_before)
        for hit in self._users:
            yield from from_zero(are.USER_FAILURES, (hit.subject,), hit.count, at, hit.born, polled_before)
        for address, (count, born) in self._granted.items():
            yield from from_zero(are.ADDRESS_SIGN_INS, (address,), count, at, born, polled_before)
        now = at.timestamp()
        for window, length in _WINDOWS.items():
            yield gauge(are.FAILING_IPS, (window,), self._failing_ips.count(length, now), at)
            yield gauge(are.FAILING_USERS, (window,), self._failing_users.count(length, now), at)
            for address, users in self._users_of_ip.counts(length, now):
                yield gauge(are.ADDRESS_USERS, (address, window), users, at)
            for user, addresses in self._ips_of_user.counts(length, now):
                yield gauge(are.USER_IPS, (user, window), addresses, at)

    def shown(self, address: str) -> str:
        """An address as its series bears it."""
        network = network_of(address)
        if not network:
            return "unknown"
        return network if self._show_ips else self._hashed("ip", network)

    def _hashed(self, what: str, value: str) -> str:
        return hashed(self._salt, what, value)

    def _member(self, value: str) -> int:
        return int.from_bytes(digest(self._salt, value, 8))

    # Across restarts --------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """What `load` takes."""
        return {
            "ips": self._ips.to_json(),
            "ips_in_clear": self._show_ips,
            "factors": self._factors.to_json(),
            "users": self._users.to_json(),
            "granted": [[address, count, iso(born)] for address, (count, born) in self._granted.items()],
            "users_of_ip": self._users_of_ip.to_json(),
            "ips_of_user": self._ips_of_user.to_json(),
            "failing_ips": self._failing_ips.to_json(),
            "failing_users": self._failing_users.to_json(),
        }

    def load(self, saved: dict[str, Any]) -> None:
        """Take over what `to_json` gave; what an earlier version did not save begins anew. Raises ValueError, TypeError
        or KeyError for anything else."""
        if saved["ips_in_clear"] == self._show_ips:
            # Where the setting was changed the old names end, and no clear address is kept.
            self._ips.load(saved["ips"])
            for address, count, born in saved.get("granted", []):
                self._granted[str(address)] = (int(count), time_of(born))
            self._users_of_ip.load(saved.get("users_of_ip", []))
        self._factors.load(saved["factors"])
        self._users.load(saved.get("users", []))
        self._ips_of_user.load(saved.get("ips_of_user", []))
        self._failing_ips.load(saved.get("failing_ips", []))
        self._failing_users.load(saved.get("failing_users", []))
