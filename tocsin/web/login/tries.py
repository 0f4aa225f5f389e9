"""Which tries to sign in go on at once, and which wait; nobody can use up the tries of a browser that came in before.

Tries are counted by client address and by account, and either could be kept busy by somebody else: a stranger who
guesses at an account all day, or all who come through one proxy. So a browser in which an account has signed in keeps a
device cookie, sealed here and good for that account alone, and its tries count for themselves. Who steals it gains a
count of their own, as small as the account's, and nothing else.

Source: https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hmac import compare_digest
from math import ceil
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from tocsin.access.signin import SlowDown
from tocsin.access.verdicts import Reason
from tocsin.web import browser
from tocsin.web.login.throttle import Throttle, address_key

DEVICE_COOKIE: Final = "__Host-tocsin-device"
DEVICE_LIFE: Final = timedelta(days=90)
"""From the last sign-in on."""


@dataclass(frozen=True)
class Tries:
    """The counts of one console."""

    code: Callable[[str, str], str]
    """Makes a code that only this console can make, of a purpose and a text: `Seal.code`."""
    by_address: Throttle = field(default_factory=lambda: Throttle(burst=20, every=6.0))
    by_account: Throttle = field(default_factory=lambda: Throttle(burst=5, every=30.0))
    codes_sent: Throttle = field(default_factory=lambda: Throttle(burst=3, every=60.0))

    def sign_in(self, request: Request, account: str, now: datetime) -> SlowDown | None:
        """Count a password or a code; a wait where there were too many."""
        if device := self._device(request, account):
            return _wait(self.by_account, device, now)
        return self.anonymous(request, now) or _wait(self.by_account, account, now)

    def send_code(self, request: Request, account: str, now: datetime) -> SlowDown | None:
        """Count a code that is asked for by e-mail."""
        if device := self._device(request, account):
            return _wait(self.codes_sent, device, now)
        return self.anonymous(request, now) or _wait(self.codes_sent, account, now)

    def anonymous(self, request: Request, now: datetime) -> SlowDown | None:
        """Count a step that names no account."""
        return _wait(self.by_address, address_key(client_of(request)), now)

    def came_in(self, request: Request, response: Response, typed: str, account: str) -> None:
        """`account` signed in, whatever was typed: its tries are forgotten, and the browser is one it came in from."""
        for each in {typed, account} - {""}:
            self.by_account.forgive(self._device(request, each) or each)
            self.by_account.forgive(each)
        id = secrets.token_urlsafe(16)
        value = f"{id}.{self.code('device', f'{id} {account}')}"
        browser.set_cookie(response, DEVICE_COOKIE, value, lifetime=DEVICE_LIFE.total_seconds())

    def _device(self, request: Request, account: str) -> str:
        """What this browser's tries at `account` are counted by; empty where it never came in with it."""
        id, _, shown = browser.cookie_of(request, DEVICE_COOKIE).partition(".")
        known = compare_digest(shown.encode(), self.code("device", f"{id} {account}").encode())
        return f"{account} {id}" if known and account else ""


def client_of(request: Request) -> str:
    """The address that a request came from."""
    return request.client.host if request.client is not None else ""


def _wait(throttle: Throttle, key: str, now: datetime) -> SlowDown | None:
    wait = throttle.take(key, now)
    return SlowDown(reason=Reason.NO_CREDENTIAL, because=str(ceil(wait))) if wait else None
