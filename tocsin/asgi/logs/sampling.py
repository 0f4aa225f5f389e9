"""Which requests are written: every error, every slow one, and a share of the rest per route; with the counts.

    tail   status 5xx, an exception, slower than `slow`             always, up to `urgent_per_minute` of a route
    tail   the first of its route and status in `at_least_every`    always: what is rare is seen
    head   its trace is kept (traceparent's sampled flag)           always where `follow_traces`
    head   by the ids: SHARE of them                                the same requests in every service of a trace

A written line says `stands_for`: how many requests of its route and status it speaks for, itself and those left out
since the line before. The sum over the lines is the number of requests, by route and by status, so rates stay true
whatever the share; what is still open when a route has gone quiet, or at the end, is told by `leftovers`. Errors stand
for errors only, slow requests for slow ones, in a storm of them too, of which the log takes `urgent_per_minute` lines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tocsin.asgi.arguments import mapping, number
from tocsin.asgi.call import Call
from tocsin.model import Seconds

_RANGE: Final = float(1 << 56)
_DIGITS: Final = 32
"""Hexadecimal ones of a trace id, and of a UUID."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """What is written."""

    share: float = 0.1
    """Of requests that are neither wrong nor slow, 0 to 1."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """By route template, over `share`: `{"/healthz": 0.001}`."""
    slow: Seconds = 1.0
    urgent_per_minute: int = 600
    """Of a route's errors, and of its slow requests; those beyond are counted in the next that is written."""
    at_least_every: Seconds = 60.0
    follow_traces: bool = True

    def __post_init__(self) -> None:
        mapping("Sampling(shares=…)", self.shares, "shares by route: {'/healthz': 0.001}")
        for share in (self.share, *self.shares.values()):
            number("Sampling(share=…)", share, least=0)
        number("Sampling(slow=…)", self.slow, least=0, above=True)
        number("Sampling(at_least_every=…)", self.at_least_every, least=0, above=True)
        for share in (self.share, *self.shares.values()):
            if not 0 <= share <= 1:
                raise ValueError(f"a share is from 0 to 1, not {share:g}")
        if self.urgent_per_minute < 1:
            raise ValueError("urgent_per_minute is 1 or more: an error that is written nowhere is not found")


@dataclass(slots=True)
class _Urgent:
    """A route's errors, or its slow requests, of one minute."""

    since: Seconds
    written: int = 0
    left_out: int = 0


class Sampler:
    """Decides, and keeps the counts. Bounded as route templates are."""

    def __init__(self, sampling: Sampling | None = None) -> None:
        self._sampling = sampling or Sampling()
        self._left_out: dict[tuple[str, int], int] = {}
        self._written: dict[tuple[str, int], Seconds] = {}
        self._urgent: dict[tuple[str, str, int], _Urgent] = {}

    def verdict(self, call: Call, route: str, took: Seconds, now: Seconds) -> tuple[str, int]:
        """(why it is written, how many it stands for); ("", 0) when it is not. `now` is monotonic."""
        key = (route, call.outcome)
        why = self._why(call, key, took, now)
        if not why:
            self._left_out[key] = self._left_out.get(key, 0) + 1
            return "", 0
        if why in ("error", "slow"):
            stands_for = self._urgently((why, *key), now)
            return (why, stands_for) if stands_for else ("", 0)
        self._written[key] = now
        return why, 1 + self._left_out.pop(key, 0)

    def _urgently(self, key: tuple[str, str, int], now: Seconds) -> int:
        """How many it stands for; 0: not written, in a storm of its like."""
        urgent = self._urgent.get(key)
        if urgent is None:
            urgent = self._urgent[key] = _Urgent(now)
        elif not 0 <= now - urgent.since < 60.0:
            urgent.since, urgent.written = now, 0
        if urgent.written >= self._sampling.urgent_per_minute:
            urgent.left_out += 1
            return 0
        stands_for, urgent.left_out = 1 + urgent.left_out, 0
        urgent.written += 1
        return stands_for

    @property
    def open(self) -> bool:
        """Something was left out that no line speaks for yet."""
        return bool(self._left_out) or any(one.left_out for one in self._urgent.values())

    def leftovers(self, now: Seconds | None = None) -> list[tuple[str, int, str, int]]:
        """(route, status, `error`, `slow` or nothing, how many were left out since its last line), and forget them: all
        of them, or with `now` those whose like wrote no line for `at_least_every`."""
        every = self._sampling.at_least_every
        quiet = [key for key in self._left_out if now is None or now - self._written.get(key, 0.0) >= every]
        found = [(*key, "", self._left_out.pop(key)) for key in quiet]
        for (why, route, status), one in self._urgent.items():
            if one.left_out and (now is None or now - one.since >= 60.0):
                found.append((route, status, why, one.left_out))
                one.left_out = 0
        return found

    def _why(self, call: Call, key: tuple[str, int], took: Seconds, now: Seconds) -> str:
        rules = self._sampling
        if call.failed is not None or (call.status >= 500 and not call.fate):
            return "error"
        if took >= rules.slow:
            return "slow"
        written = self._written.get(key)
        if written is None or now - written >= rules.at_least_every:
            return "first"
        share = rules.shares.get(key[0], rules.share)
        if share >= 1 or (share > 0 and _drawn(call) < share):
            return "share"
        return "trace" if rules.follow_traces and share > 0 and call.trace_sampled else ""


def _drawn(call: Call) -> float:
    """0 to 1, the same in every process for all that share the trace or the request's id: the last 56 bits of a trace
    are random (W3C Trace Context level 2), as are a UUID's; a caller's id of another form is hashed."""
    shared = call.trace_id or call.request_id
    digits = shared.replace("-", "")
    if len(digits) == _DIGITS:
        try:
            return int(digits[-14:], 16) / _RANGE
        except ValueError:
            pass
    return int.from_bytes(hashlib.blake2b(shared.encode(), digest_size=7).digest(), "big") / _RANGE
