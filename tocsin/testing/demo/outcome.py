"""A fault from its injection to its end, and whether the right people would have been told exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from tocsin.model import utc
from tocsin.testing.demo.channel import opening, resolved_at
from tocsin.testing.demo.faults import Fault
from tocsin.testing.demo.settings import FLAP_WINDOW
from tocsin.testing.demo.stage import Stage
from tocsin.testing.slack import Message

NOTICE: Final = 30.0
"""Seconds in which a message must come."""
END: Final = 60.0
"""Seconds in which its end must be told once the fault is mended."""
CALM: Final = 15.0
"""Seconds that are waited for trouble that is not ours to end before the fault is injected."""
SETTLE: Final = FLAP_WINDOW + 1.5
"""Seconds after the end in which nothing more may come; longer than the flap window, so that the next is a new one."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What happened when. Times are None where it did not happen."""

    fault: str
    injected_at: datetime
    detected_at: datetime | None
    """When the daemon decided to tell it."""
    notified_at: datetime | None
    """When Slack had the message."""
    mended_at: datetime
    resolved_at: datetime | None
    """When the thread told the end."""
    messages: int
    """Messages in the channel; edits and thread replies are none."""
    replies: int
    edits: int
    text: str
    """The first line of the message as it was posted."""

    @property
    def ok(self) -> bool:
        """Detected, told once, and its end told."""
        return self.messages == 1 and self.notified_at is not None and self.resolved_at is not None

    @property
    def seconds(self) -> float | None:
        """From the fault to the message."""
        return None if self.notified_at is None else (self.notified_at - self.injected_at).total_seconds()

    @property
    def verdict(self) -> str:
        """What is wrong, in a few words; empty when nothing is."""
        if self.notified_at is None:
            return "missed: no message came"
        if self.messages != 1:
            return f"{self.messages} messages instead of 1"
        return "" if self.resolved_at is not None else "its end was never told"

    def document(self) -> dict[str, Any]:
        """One JSON object."""
        return {
            "fault": self.fault,
            "ok": self.ok,
            "injected_at": _stamp(self.injected_at),
            "detected_at": _stamp(self.detected_at),
            "notified_at": _stamp(self.notified_at),
            "mended_at": _stamp(self.mended_at),
            "resolved_at": _stamp(self.resolved_at),
            "seconds_to_message": self.seconds,
            "messages": self.messages,
            "replies": self.replies,
            "edits": self.edits,
            "text": self.text,
        }


async def perform(
    fault: Fault, stage: Stage, *, say: Say = lambda line: None, notice: float = NOTICE, end: float = END
) -> Outcome:
    """Inject `fault`, wait for its message, mend it, wait for its end, and see that nothing else comes.

    Raises DemoError when a part of the stage ends on its own.
    """
    # On a machine that is short of breath an endpoint may be slow without our doing: let that end first.
    await stage.until(lambda: all(_end_of(stage, one) is not None for one in stage.slack.posted()), CALM)
    before = len(stage.slack.posted())
    injected_at = datetime.now(UTC)
    await fault.inject(stage)
    told = await stage.until(lambda: len(stage.slack.posted()) > before, notice)
    text = opening(stage.slack.posted()[before]) if told else ""
    say(f"told: {text}" if told else f"nothing was told within {notice:g} s")
    if told:
        await asyncio.sleep(fault.lasts)
    mended_at = datetime.now(UTC)
    await fault.mend(stage)
    if told:
        resolved = await stage.until(
            lambda: all(_end_of(stage, one) is not None for one in stage.slack.posted()[before:]), end
        )
        say("its end was told in the thread" if resolved else f"its end was not told within {end:g} s")
    await asyncio.sleep(SETTLE)
    stage.check()
    posted = stage.slack.posted()[before:]
    ends = [_end_of(stage, message) for message in posted]
    return Outcome(
        fault=fault.name,
        injected_at=injected_at,
        detected_at=stage.decided_after(injected_at),
        notified_at=utc(posted[0].posted_at) if posted else None,
        mended_at=mended_at,
        resolved_at=utc(max(one for one in ends if one is not None)) if ends and None not in ends else None,
        messages=len(posted),
        replies=sum(len(stage.slack.thread(message)) for message in posted),
        edits=sum(message.edits for message in posted),
        text=text,
    )


def _end_of(stage: Stage, message: Message) -> float | None:
    return resolved_at(message, stage.slack.thread(message))


def _stamp(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
