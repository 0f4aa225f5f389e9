"""Ordinary days of an application with 400 users.

An office of 150 behind one address starts at seven, a second shift of 40 at two; 60 come through a carrier's address,
the rest from home, by day more than by night and on weekends little. People mistype (one in eight, some again), forget
and reset their password, use codes and second factors, come with sessions that ended. CI signs in every ten minutes and
runs its end-to-end tests, wrong passwords included, in bursts. The application's own servers make links and remove test
users. Now and then a device with an old password knocks for hours, from home or from the office.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from tocsin.model import Seconds
from tocsin.testing.sign_ins import lines
from tocsin.testing.sign_ins.lines import Line

DAY: Final[Seconds] = 86_400.0
HOUR: Final[Seconds] = 3_600.0
OFFICE: Final = "198.51.100.10"
CARRIER: Final = "198.51.100.20"
CI: Final = "198.51.100.30"
SERVERS: Final = "10.0.0.0/8"
_SERVER: Final = "10.0.0.7"
_BY_HOUR: Final = (1, 1, 1, 1, 1, 2, 4, 8, 10, 10, 9, 8, 7, 8, 9, 9, 8, 7, 6, 6, 6, 5, 4, 2)
"""How many come from home, by hour of the day (UTC)."""


@dataclass(frozen=True)
class User:
    """Somebody, and where they are."""

    id: str
    ip: str
    shift: Seconds | None
    """When they begin, since midnight; None: whenever."""
    codes: bool
    """Signs in by e-mailed codes."""
    factor: str


def people() -> list[User]:
    """The 400."""
    found = []
    for n in range(400):
        ip = OFFICE if n < 190 else CARRIER if n < 250 else f"192.0.{2 + n // 250}.{n % 250}"
        shift = 7 * HOUR if n < 150 else 14 * HOUR if n < 190 else None
        found.append(User(f"u{n}", ip, shift, codes=n % 13 == 0, factor=f"f{n}" if n % 4 == 0 else ""))
    return found


class Days:
    """`hook`: whether Auth's hook tells whose password was wrong."""

    def __init__(self, seed: int, *, hook: bool) -> None:
        self._random = Random(seed)
        self._hook = hook
        self._people = people()

    def day(self, midnight: Seconds, weekday: int) -> list[Line]:
        """The lines of one day, in order; weekday 0 is Monday."""
        found: list[Line] = []
        for user in self._people:
            if self._random.random() < self._presence(user, weekday):
                found += self._session(user, midnight + self._arrival(user))
        for part in (self._ci(midnight), self._servers(midnight), self._odds(midnight), self._old_password(midnight)):
            found += part
        return sorted(found, key=lambda line: line.at)

    def _presence(self, user: User, weekday: int) -> float:
        if weekday >= 5:
            return 0.02 if user.shift is not None else 0.15
        return 0.85 if user.shift is not None else 0.5

    def _arrival(self, user: User) -> Seconds:
        random = self._random
        if user.shift is not None:
            return user.shift + random.gauss(0, 600)
        hour = random.choices(range(24), _BY_HOUR)[0]
        return (hour + random.random()) * HOUR

    def _session(self, user: User, at: Seconds) -> Iterator[Line]:
        random = self._random
        if user.codes:
            if random.random() < 0.08:
                yield lines.code(at, user.ip, right=False)
                at += random.uniform(20, 90)
            yield lines.code(at, user.ip, right=True)
        else:
            slips = 0
            while random.random() < (0.125 if slips == 0 else 0.35):
                slips += 1
            if random.random() < 0.01:
                slips += random.randint(4, 7)
            for _ in range(slips):
                yield from lines.wrong_password(at, user.ip, user.id, hook=self._hook)
                at += random.uniform(4, 30)
            if slips > 4:
                yield lines.request(at, "/recover", user.ip)
                at += random.uniform(60, 300)
            yield from lines.signed_in(at, user.ip, user.id)
        if user.factor:
            while random.random() < 0.05:
                yield lines.second_factor(at + 5, user.ip, user.factor, right=False)
                at += 10
            yield lines.second_factor(at + 8, user.ip, user.factor, right=True)
        yield from self._refreshes(user, at)

    def _refreshes(self, user: User, at: Seconds) -> Iterator[Line]:
        random = self._random
        for _ in range(random.randint(1, 9)):
            at += HOUR * random.uniform(0.9, 1.0)
            luck = random.random()
            if luck < 0.001:  # two tabs at once
                yield lines.refreshed(at, user.ip, "refresh_token_already_used")
            elif luck < 0.006:
                yield lines.refreshed(at, user.ip, "refresh_token_not_found")
            else:
                yield lines.refreshed(at, user.ip)

    def _ci(self, midnight: Seconds) -> Iterator[Line]:
        for n in range(144):
            yield from lines.signed_in(midnight + 600 * n + self._random.uniform(0, 30), CI, "ci")
        for _ in range(self._random.randint(1, 6)):
            at = midnight + self._random.uniform(6, 22) * HOUR
            for n in range(60):
                if n % 10 == 0:  # the tests of a wrong password
                    yield from lines.wrong_password(at + 2 * n, CI, f"test{n}", hook=self._hook)
                yield from lines.signed_in(at + 2 * n + 1, CI, f"test{n}")
            for n in range(10):
                yield lines.request(at + 130 + n, f"/admin/users/t{n}", _SERVER, method="DELETE")

    def _servers(self, midnight: Seconds) -> Iterator[Line]:
        for _ in range(self._random.randint(5, 15)):
            yield lines.request(midnight + self._random.uniform(7, 19) * HOUR, "/admin/generate_link", _SERVER)

    def _odds(self, midnight: Seconds) -> Iterator[Line]:
        random = self._random
        for _ in range(random.randint(1, 6)):
            yield lines.request(midnight + random.random() * DAY, "/signup", f"192.0.9.{random.randint(1, 250)}")
        for _ in range(random.randint(0, 4)):
            yield from lines.denied_by_hook(midnight + random.random() * DAY, f"192.0.9.{random.randint(1, 250)}")
        for _ in range(random.randint(0, 5)):
            yield lines.request(midnight + random.random() * DAY, "/token", CARRIER, 429)
        for _ in range(random.randint(5, 20)):  # guesses of strangers, here and there
            ip = f"203.0.113.{random.randint(1, 250)}"
            yield from lines.wrong_password(midnight + random.random() * DAY, ip, "", hook=self._hook)

    def _old_password(self, midnight: Seconds) -> Iterator[Line]:
        if self._random.random() < 0.25:
            ip = OFFICE if self._random.random() < 0.5 else "192.0.3.77"
            at = midnight + self._random.uniform(6, 20) * HOUR
            for n in range(self._random.randint(20, 90)):
                yield from lines.wrong_password(at + 120 * n, ip, "u7", hook=self._hook)
