"""What a probe saw, and whether it meets what is expected. No socket, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import orjson

from collectors.endpoint.expect import Expect, compiled
from collectors.endpoint.json_path import MISSING, find, parsed, same
from collectors.endpoint.name_server import Found, plain
from tocsin.model import Seconds


class Reason(StrEnum):
    """Why a target is not up. Down to REDIRECT it means that there is no answer to judge."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    EXPIRED = "certificate_expired"
    EARLY = "certificate_not_yet_valid"
    WRONG_HOST = "certificate_of_another_host"
    UNTRUSTED = "certificate_untrusted"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"
    HTTP_VERSION = "http_version"
    REDIRECT = "redirect"
    STATUS = "status"
    BODY = "body"
    JSON = "json"
    HEADER = "header"
    EXTRACT = "extract"
    NXDOMAIN = "nxdomain"
    SERVFAIL = "servfail"
    RCODE = "rcode"
    RECORDS = "records"
    SLOW = "slow"


_BY_RCODE: Final = {"NXDOMAIN": Reason.NXDOMAIN, "SERVFAIL": Reason.SERVFAIL}


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """What became of one step of a journey."""

    name: str
    seconds: Seconds | None
    """None without an answer, unless it was waited for to the end."""
    reasons: tuple[Reason, ...]
    """Why it failed; empty: it did not."""
    cleanup: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One probe's result: an answer, or `failure`."""

    total: Seconds
    phases: Mapping[str, Seconds] = field(default_factory=dict)
    """dns, connect, tls, first_byte: those that were completed, summed over redirects."""
    failure: Reason | None = None
    timed_out: bool = False
    """Its time was up before there was an answer."""
    status: int | None = None
    is_http: bool = True
    """False for a connection alone, which has no status."""
    body: str = ""
    """Its first `body_limit` bytes as text; empty unless the target's expectations ask for it."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """By name, in any case."""
    url: str = ""
    """Where the answer came from; of a redirect that is not followed, where it leads."""
    found: Found | None = None
    """What a name server said; None: none was asked."""
    steps: tuple[StepResult, ...] | None = None
    """Of a journey, in order; None: it is none, and is judged by itself."""
    certificate_expires_at: Seconds | None = None
    """Since the epoch; the earliest over redirects."""

    @property
    def was_answered(self) -> bool:
        """False when a connection, or one of a journey's, brought no answer."""
        return self.failure is None and all(step.seconds is not None for step in self.steps or () if not step.cleanup)

    @property
    def was_waited_for(self) -> bool:
        """Answered, or waited for to the end: then its duration says something. A port that refuses at once would
        make a broken service look fast."""
        return self.was_answered or self.timed_out


def shortfalls(expect: Expect, answer: Answer) -> tuple[Reason, ...]:
    """The expectations that `answer` does not meet, in the order of Reason; empty: the target is up."""
    found: list[Reason] = []
    if answer.failure is not None:
        found.append(answer.failure)
    elif answer.steps is not None:
        found += dict.fromkeys(reason for step in answer.steps if not step.cleanup for reason in step.reasons)
    elif answer.found is not None:
        found += _shortfalls_of_names(expect, answer.found)
    else:
        found += _shortfalls_of_http(expect, answer) if answer.is_http else []
        if not body_fits(expect, answer.body):
            found.append(Reason.BODY)
        if expect.reads_json and not _json_fits(expect, answer.body):
            found.append(Reason.JSON)
    if expect.max_seconds is not None and answer.total > expect.max_seconds:
        found.append(Reason.SLOW)
    return tuple(found)


def _shortfalls_of_http(expect: Expect, answer: Answer) -> list[Reason]:
    found: list[Reason] = []
    if expect.url_matches is not None and compiled(expect.url_matches).search(answer.url) is None:
        found.append(Reason.REDIRECT)
    if not _status_fits(expect, answer.status or 0):
        found.append(Reason.STATUS)
    for name, pattern in expect.header_matches.items():
        if name not in answer.headers or compiled(pattern).search(answer.headers[name]) is None:
            return [*found, Reason.HEADER]
    return found


def _shortfalls_of_names(expect: Expect, said: Found) -> list[Reason]:
    if said.rcode != expect.rcode:
        return [_BY_RCODE.get(said.rcode, Reason.RCODE)]
    records, wanted = set(said.records), {plain(text) for text in expect.records_contain}
    exact = {plain(text) for text in expect.records_equal}
    fits = wanted <= records and (not exact or exact == records)
    # Without a word about the records one of them is wanted: NOERROR without any is "this name has none of the type".
    least = expect.records_least if expect.records_least is not None else int(expect.rcode == "NOERROR")
    return [] if fits and len(records) >= least else [Reason.RECORDS]


def _json_fits(expect: Expect, body: str) -> bool:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    if any(find(document, parsed(path)) is MISSING for path in expect.json_exists):
        return False
    return all(same(find(document, parsed(path)), wanted) for path, wanted in expect.json_equals.items())


def _status_fits(expect: Expect, status: int) -> bool:
    return status in expect.status if expect.status else 200 <= status <= 299


def body_fits(expect: Expect, body: str) -> bool:
    """Whether `body` holds what is wanted of it as text."""
    if expect.body_contains is not None and expect.body_contains not in body:
        return False
    return expect.body_matches is None or compiled(expect.body_matches).search(body) is not None
