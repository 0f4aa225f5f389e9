"""Structured logs: a line is a constant event plus fields, as JSON on standard error.

`log.warning("delivery.throttled", destination=…, retry_after=…)`. On a terminal the same events are readable text.
Secrets never reach a line: settings hold them as SecretStr, and `redacted` masks what looks like a DSN's password, a
Slack token, a webhook's address, a JWT or a private key in any field, because an exception's text may quote them.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, MutableMapping
from typing import Any, Final, TextIO, cast

import orjson
import structlog

_SECRETS: Final = re.compile(
    # Every repeat is bounded, or a text made for it would take seconds.
    r"(?P<scheme>\b[a-z][a-z0-9+.-]{0,30}://[^\s:/@]{0,256}):[^\s@]{0,1000}@"  # user:password@ in a URL
    r"|\bxox[a-z]-[A-Za-z0-9-]{8,}"  # Slack tokens
    r"|\bpassword=(?:'[^']*'|\S+)"  # libpq keyword form
    r"|\beyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"  # JWTs
    # Incoming webhooks: who has the address may write.
    r"|(?P<hook>\bhttps://(?:hooks\.slack(?:-gov)?\.com/[a-z]{1,20}|(?:[a-z]{1,10}\.)?discord(?:app)?\.com/api/webhooks"
    r"|[a-z0-9-]{1,63}\.webhook\.office\.com)/)[^\s'\"<>)]+"
    r"|-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY-----(?:[A-Za-z0-9+/=:,\s\\]|-(?!-)){0,20000}"
    r"(?:-----END [A-Z0-9 ]{1,40}-----)?",
)


def redacted(text: str) -> str:
    """`text` with credentials masked."""
    return _SECRETS.sub(_masked, text)


def _masked(match: re.Match[str]) -> str:
    return f"{match['scheme']}:***@" if match["scheme"] else f"{match['hook'] or ''}***"


def _redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = redacted(value)
    return event


class Unbreakable:
    """A stream that swallows what the system won't write: a full disk must not break what was to be logged."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """How much was written; 0 where the system refused."""
        try:
            return self._stream.write(text)
        except OSError:
            return 0

    def flush(self) -> None:
        """Hand on what is buffered."""
        try:
            self._stream.flush()
        except OSError:
            return


def json_of(event: Any, *, default: Callable[[Any], Any] = str) -> bytes:
    """A line, whatever its fields hold: what orjson refuses (half of a surrogate pair, as in the names of odd files; a
    number over 64 bits) must not cost the line."""
    try:
        return orjson.dumps(event, default=default, option=orjson.OPT_NON_STR_KEYS)
    except (TypeError, ValueError):
        text = json.dumps(event, default=default, separators=(",", ":"), ensure_ascii=False)
        return text.encode("utf-8", "replace")


def _to_json(event: Any, **_: Any) -> str:
    return json_of(event).decode()


def set_up(*, level: str = "info", format: str = "auto", stream: TextIO | None = None) -> None:
    """Send logs to `stream` (standard error) as `json` or `text`; `auto` is text on a terminal.

    Third-party loggers (slack_sdk, uvicorn, psycopg) pass through the same renderer at warning and above.
    """
    out = stream or sys.stderr
    sink = Unbreakable(out)
    as_text = format == "text" or (format == "auto" and out.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _redact,
    ]
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=out.isatty()) if as_text else structlog.processors.JSONRenderer(_to_json)
    )
    shown: list[Any] = [] if as_text else [structlog.processors.format_exc_info]
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, *shown, _redact, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, sink)),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(cast(TextIO, sink))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *shown, _redact, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(threshold, logging.WARNING))


def logger() -> structlog.typing.FilteringBoundLogger:
    """A logger; cheap, made where it is used."""
    bound: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return bound
