"""Console: each notification as one line on standard output or error, for trying things out and for a log collector.

kind: console, name: screen, stream: stderr, timezone: Europe/Berlin

14:05:03 CET FIRING P0 checkout-api: 12 % of requests fail · since 14:02 CET, 3 min · new incident [i-3f9a2c]
"""

from __future__ import annotations

import asyncio
import sys
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal, TextIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from pydantic import field_validator

from notifiers._facts import facts_of, several_text, tells_of_several
from notifiers._words import one_line
from tocsin.errors import Refused
from tocsin.model import Notification, Receipt
from tocsin.ports import Health, NotifierContext, NotifierSettings, NotifierSpec

_FOLDER: Final = Path(__file__).parent / "templates"


class ConsoleSettings(NotifierSettings):
    """Which stream, and in which zone times are written."""

    stream: Literal["stdout", "stderr"] = "stdout"
    timezone: str = "UTC"

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"no such time zone: {timezone!r}; write it like Europe/Berlin or UTC") from None
        return timezone


class ConsoleNotifier:
    """Writes lines."""

    def __init__(self, settings: ConsoleSettings, context: NotifierContext) -> None:
        self._settings = settings
        self._context = context

    async def send(self, notification: Notification, parent: Receipt | None) -> Receipt:
        """Write one line. Raises Refused when the stream is closed."""
        line = line_of(notification, ZoneInfo(self._settings.timezone))
        try:
            # A full pipe blocks whoever writes to it: that must not be the loop that everything runs in.
            await asyncio.to_thread(self._written, line)
        except (OSError, ValueError) as error:
            raise Refused(
                f"{self._settings.stream} can't be written: {error}", mend="start the daemon with an open output"
            ) from error
        return Receipt(
            notification=notification.id,
            notifier=self._settings.name,
            incident=notification.incident.id,
            action=notification.action,
            at=self._context.clock.now(),
            destination=self._settings.stream,
        )

    def _written(self, line: str) -> None:
        self._context.permit()
        _write(self._stream, line)

    async def find(self, notification: Notification, parent: Receipt | None) -> Receipt | None:
        """What was written can't be read back."""
        return None

    async def check(self) -> Health:
        """Whether the stream is open."""
        if self._stream.closed:
            return Health(
                ok=False, what=f"{self._settings.stream} is closed", mend="start the daemon with an open output"
            )
        return Health(ok=True, what=f"lines go to {self._settings.stream}")

    async def close(self) -> None:
        """The stream is the process'; it stays open."""

    @property
    def _stream(self) -> TextIO:
        # Looked up at each use: the process may have been given another one.
        return sys.stdout if self._settings.stream == "stdout" else sys.stderr


def line_of(notification: Notification, zone: ZoneInfo) -> str:
    """The line, without its end. Pure."""
    at = notification.created_at.astimezone(zone)
    facts = facts_of(notification.incident, notification.created_at, zone=zone)
    several = tells_of_several(notification)
    text = _template().render(
        at=f"{at:%H:%M:%S} {at.tzname() or 'UTC'}",
        state=notification.action.value.upper() if several else facts.state.value.upper(),
        several=several_text(notification) if several else "",
        facts=facts,
        mentions=["@" + one_line(mention.id or mention.kind, 60) for mention in notification.mentions],
        because=one_line(notification.because, 200),
    )
    return " ".join(text.split())


@lru_cache(maxsize=1)
def _template() -> Template:
    # Not HTML: a terminal shows what it is given, and control characters were removed from every value before.
    environment = Environment(loader=FileSystemLoader(_FOLDER), autoescape=False, undefined=StrictUndefined)  # noqa: S701
    environment.trim_blocks = environment.lstrip_blocks = True
    return environment.get_template("console.j2")


def _write(stream: TextIO, line: str) -> None:
    stream.write(line + "\n")
    stream.flush()


SPEC = NotifierSpec(kind="console", settings=ConsoleSettings, build=ConsoleNotifier)
