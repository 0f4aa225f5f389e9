"""Many lines of Supabase Auth's log → what they came to. Pure.

Most of the collector's time is spent here. What a line means is looked up by the few words that decide it, so that it
costs little over parsing; only what is not known by them is worked out (see `events`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import orjson

from collectors.auth_logs.events import (
    AUDIT,
    BROKEN,
    IGNORED,
    KNOWN,
    OVERSIZE,
    Audit,
    Event,
    Kind,
    Meaning,
    attempt_in,
    audited_by,
    read_fields,
    text_of,
)
from collectors.auth_logs.routes import PLAIN


class Tally:
    """What many lines came to."""

    def __init__(self) -> None:
        self.meanings: list[Meaning] = []
        """Of every line that is not in `took`."""
        self.took: defaultdict[Meaning, list[Any]] = defaultdict(list)
        """The durations of a request's lines as they are logged: nanoseconds, or anything else where it is none."""
        self.named: list[tuple[Meaning, str]] = []
        """The lines that name an address: who was refused, who signed in or administered."""
        self.events: list[Event] = []
        """Those of them that name a factor or a user."""
        self.audits: list[Audit] = []
        """What was audited, by lines of their own."""
        self.audited: list[Any] = []
        """The requests' ids of those lines, as they are logged."""
        self.repeated: list[tuple[Audit, str]] = []
        """What requests' own lines say was audited, and their ids; they come after."""
        self.time = ""
        """That the last line bears."""


_meanings: dict[tuple[Any, ...], Meaning] = {}
"""What the words of a request's or a sign-in's line mean, so that most lines cost little over parsing."""


def read_lines(lines: Sequence[bytes], tally: Tally, *, max_line: int) -> None:
    """Read lines into `tally`. Each look at a field is one of millions."""
    if lines and max(map(len, lines)) > max_line:
        tally.meanings += [OVERSIZE.meaning] * sum(len(line) > max_line for line in lines)
        lines = [line for line in lines if len(line) <= max_line]
    loads, known, see, took = orjson.loads, _meanings.get, tally.meanings.append, tally.took
    audit, audited, name = tally.audits.append, tally.audited.append, tally.named.append
    words: tuple[Any, ...]
    for line in lines:
        try:
            fields = loads(line)
            get = fields.get
        except (orjson.JSONDecodeError, AttributeError):
            see(BROKEN.meaning)
            continue
        try:
            if (status := get("status")) is not None:
                words = (status, get("path"), get("method"), get("grant_type"), get("error_code"))
                if (meaning := known(words)) is not None:
                    took[meaning].append(get("duration"))
                    if meaning.names:
                        name((meaning, text_of(fields, "remote_addr")))
                    if (body := get("auth_event")) is not None:
                        _repeat(body, fields, tally)
                    continue
            elif (msg := get("msg")) == "Login":
                words = (get("login_method"), get("metering"))
                if (meaning := known(words)) is not None:
                    see(meaning)
                    continue
            elif msg == "audit_event" and type(body := get("auth_audit_event")) is dict:
                see(AUDIT)
                audit(audited_by(body))
                audited(body.get("request_id"))
                continue
            else:
                words = ()
        except TypeError:  # a list or object where GoTrue writes a word
            words = ()
        _read_anew(fields, words, tally)
    tally.time = next(filter(None, map(_time_of, reversed(lines))), "")


def _read_anew(fields: dict[str, Any], words: tuple[Any, ...], tally: Tally) -> None:
    """A line whose meaning is not known yet by its words."""
    event = read_fields(fields)
    meaning = event.meaning
    if words:
        _remember(words, meaning)
    if not meaning.route:
        tally.meanings.append(meaning)
    else:
        tally.took[meaning].append(fields.get("duration"))
        if (body := fields.get("auth_event")) is not None:
            _repeat(body, fields, tally)
    if event.factor or event.user:
        tally.events.append(event)
    elif meaning.names:
        tally.named.append((meaning, event.address))


def _repeat(body: Any, fields: dict[str, Any], tally: Tally) -> None:
    if type(body) is dict:
        tally.repeated.append((audited_by(body), text_of(fields, "request_id")))


def _time_of(line: bytes) -> str:
    """That a line bears; empty: none."""
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return ""
    if type(fields) is not dict:
        return ""
    return text_of(fields, "time") or (text_of(fields["metadata"], "time") if attempt_in(fields) is not IGNORED else "")


def _remember(words: tuple[Any, ...], meaning: Meaning) -> None:
    """Lines with the same words mean the same: not where a path is of one user, or where the error's text decides."""
    if meaning.kind is Kind.REQUEST:
        status, path, _, _, code = words
        if path not in PLAIN or (status == 400 and not code):
            return
    elif meaning.kind is not Kind.LOGIN:
        return
    if len(_meanings) >= KNOWN:
        _meanings.clear()
    _meanings[words] = meaning
