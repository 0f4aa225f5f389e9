"""What is injected: each attack as log lines, when it has met its rule's condition, and which alerts find it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from tocsin.model import Seconds
from tocsin.testing.sign_ins import lines
from tocsin.testing.sign_ins.lines import Line


@dataclass(frozen=True)
class Kind:
    """`make` yields the lines in order. It is due with line number `due`, counted from 1, and not before `after`."""

    name: str
    make: Callable[[Seconds, str, Random, bool], Iterator[Line]]
    due: int
    found_by: frozenset[str]
    by_hook: frozenset[str] = frozenset()
    """The alerts that must find it where the hook tells whose password was wrong; empty: `found_by`."""
    after: Seconds = 0.0
    due_alone: int = 0
    """The same without the hook; 0: no other."""


@dataclass(frozen=True)
class Attack:
    """One of a kind."""

    kind: Kind
    lines: tuple[Line, ...]
    expects: frozenset[str]
    hook: bool

    @property
    def begin(self) -> Seconds:
        return self.lines[0].at

    @property
    def end(self) -> Seconds:
        return self.lines[-1].at

    @property
    def due(self) -> Seconds:
        """The time of the line with which the rule's thresholds are met: before it nobody can tell it from people."""
        told = [line for line in self.lines if b'"valid"' not in line.text]
        due = self.kind.due if self.hook else self.kind.due_alone or self.kind.due
        return max(told[due - 1].at, self.begin + self.kind.after)


def attack(kind: Kind, at: Seconds, number: int, random: Random, *, hook: bool) -> Attack:
    """`number` gives it addresses of its own."""
    made = sorted(kind.make(at, f"203.{number % 250}", random, hook), key=lambda line: line.at)
    return Attack(kind, tuple(made), (hook and kind.by_hook) or kind.found_by, hook)


def _brute_force(at: Seconds, net: str, random: Random, hook: bool) -> Iterator[Line]:
    for n in range(200):
        yield from lines.wrong_password(at + 2 * n + random.random(), f"{net}.0.9", "u55", hook=hook)


def _brute_force_that_succeeds(at: Seconds, net: str, random: Random, hook: bool) -> Iterator[Line]:
    yield from _brute_force(at, net, random, hook)
    yield from lines.signed_in(at + 405, f"{net}.0.9", "u55")


def _distributed(at: Seconds, net: str, random: Random, hook: bool) -> Iterator[Line]:
    for n in range(400):
        user = f"u{random.randrange(400)}" if n % 3 else ""
        yield from lines.wrong_password(at + 2 * n, f"{net}.{n % 4}.{random.randrange(250)}", user, hook=hook)


def _stuffing(at: Seconds, net: str, random: Random, hook: bool) -> Iterator[Line]:
    for n, user in enumerate(random.sample(range(400), 120)):
        yield from lines.wrong_password(at + 4 * n, f"{net}.0.9", f"u{user}", hook=hook)


def _spray(at: Seconds, net: str, random: Random, hook: bool) -> Iterator[Line]:
    users = random.sample(range(400), 8)
    for n in range(4 * len(users)):  # one password for all, then the next; too slow for a rule on one address
        yield from lines.wrong_password(at + 35 * n, f"{net}.0.9", f"u{users[n % len(users)]}", hook=hook)


def _one_user(at: Seconds, net: str, random: Random, hook: bool) -> Iterator[Line]:
    for n in range(24):
        yield from lines.wrong_password(at + 30 * n, f"{net}.0.{n % 12}", "u56", hook=hook)


def _refresh_reuse(at: Seconds, net: str, random: Random, hook: bool) -> Iterator[Line]:
    for n in range(8):
        yield lines.refreshed(at + 45 * n, f"{net}.0.9", "refresh_token_already_used")


def _code_guessing(at: Seconds, net: str, random: Random, hook: bool) -> Iterator[Line]:
    for n in range(60):
        yield lines.code(at + 5 * n, f"{net}.0.9", right=False)


def _factor_guessing(at: Seconds, net: str, random: Random, hook: bool) -> Iterator[Line]:
    for n in range(20):
        yield lines.second_factor(at + 8 * n, f"{net}.0.9", "f8", right=False)


def _link_by_service_role(at: Seconds, net: str, random: Random, hook: bool) -> Iterator[Line]:
    yield lines.request(at, "/admin/generate_link", f"{net}.0.9")


def _factor_removed(at: Seconds, net: str, random: Random, hook: bool) -> Iterator[Line]:
    yield lines.request(at, "/admin/users/u8/factors/f8", f"{net}.0.9", method="DELETE")


def _of(*names: str) -> frozenset[str]:
    return frozenset(names)


KINDS: Final = (
    Kind("brute force", _brute_force, 20, _of("AuthBruteForce")),
    Kind("brute force that gets in", _brute_force_that_succeeds, 201, _of("AuthBruteForceSucceeded")),
    Kind("distributed guessing", _distributed, 50, _of("AuthDistributedAttack")),
    Kind("credential stuffing", _stuffing, 25, _of("AuthBruteForce"), _of("AuthCredentialStuffing")),
    Kind("password spray", _spray, 15, _of("AuthSlowGuessing"), _of("AuthPasswordSpray"), after=300.0, due_alone=25),
    Kind("one user, many addresses", _one_user, 10, _of(), _of("AuthUserUnderAttack")),
    Kind("refresh reuse", _refresh_reuse, 3, _of("AuthRefreshReuse")),
    Kind("code guessing", _code_guessing, 10, _of("AuthOtpGuessing")),
    Kind("second-factor guessing", _factor_guessing, 5, _of("AuthTotpGuessing")),
    Kind("link by service_role", _link_by_service_role, 1, _of("AuthAdminAction")),
    Kind("factor removed by service_role", _factor_removed, 1, _of("AuthAdminAction")),
)
"""Without the hook nothing tells whose password was wrong. A slow spray is many failures of one address then, as of a
device with an old password. One user under attack from many addresses can't be found: each address fails once or
twice, as people do, and the lines have nothing in common."""
