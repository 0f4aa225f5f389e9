"""What the stand-in Slack's channel shows, read as a person does: a message, its state sign, the thread under it."""

from __future__ import annotations

from typing import Final

from tocsin.testing.slack import Message

RESOLVED_SIGN: Final = "✅"


def opening(message: Message) -> str:
    """The first line that a reader sees, without markup."""
    blocks = [block.get("text", {}).get("text", "") for block in message.blocks if block.get("type") == "section"]
    text = next((text for text in blocks if text), message.text)
    return text.strip().splitlines()[0].replace("*", "") if text.strip() else ""


def is_resolved(message: Message) -> bool:
    """Whether it says that the trouble is over."""
    return opening(message).startswith(RESOLVED_SIGN)


def resolved_at(message: Message, thread: tuple[Message, ...]) -> float | None:
    """When the thread told the end (epoch seconds); None while the message or its thread does not say so."""
    ends = [reply.posted_at for reply in thread if is_resolved(reply)]
    return max(ends) if ends and is_resolved(message) else None
