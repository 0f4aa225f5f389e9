"""What the stand-in Slack remembers: channels, messages, threads, reactions, files. No HTTP here.

With a state file every change is appended to it and flushed to the disk before it is answered, and read back at the
start, so the fake may itself be killed in the middle of a test.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any


class SlackRefusal(Exception):
    """The `error` of an answer with `ok: false`, and what else the answer holds."""

    def __init__(self, error: str, **more: Any) -> None:
        super().__init__(error)
        self.error = error
        self.more = more


@dataclass
class Channel:
    """A conversation the bot may or may not be in."""

    id: str
    name: str
    member: bool = True
    archived: bool = False
    private: bool = False


@dataclass
class Message:
    """One message as Slack keeps it; `times` are when it was posted and last changed (epoch seconds)."""

    channel: str
    ts: str
    text: str = ""
    blocks: list[dict[str, Any]] = field(default_factory=list)
    attachments: list[dict[str, Any]] = field(default_factory=list)
    metadata: dict[str, Any] | None = None
    thread_ts: str = ""
    broadcast: bool = False
    username: str = ""
    icon: str = ""
    edited: bool = False
    """Slack shows "(edited)": an edit of a message without blocks."""
    edits: int = 0
    tombstone: bool = False
    """Deleted while it had replies: the thread lives on under it."""
    reactions: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    changed_at: float = 0.0

    @property
    def key(self) -> str:
        """The notification that this message says it is, from its metadata."""
        return str(((self.metadata or {}).get("event_payload") or {}).get("key", ""))

    @property
    def posted_at(self) -> float:
        return float(self.ts)

    @property
    def is_reply(self) -> bool:
        return bool(self.thread_ts) and self.thread_ts != self.ts


class Workspace:
    """One Slack workspace with one app installed in it."""

    def __init__(
        self,
        *,
        channels: tuple[Channel, ...],
        state: Path | None = None,
        now: Callable[[], float] = time.time,
        edit_window: float | None = None,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`edit_window`: seconds after which a message can't be edited, as a workspace's settings may say."""
        self.channels = {channel.id: channel for channel in channels}
        self.files: dict[str, dict[str, Any]] = {}
        self._messages: dict[tuple[str, str], Message] = {}
        self._now = now
        self._edit_window = edit_window
        self._last = 0
        self._on_change = on_change
        self._log: IO[str] | None = None
        if state is not None:
            self._load(state)
            self._log = state.open("a", encoding="utf-8")

    def close(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None

    # Reading

    def channel(self, wanted: object, *, by_name: bool = False) -> Channel:
        """The channel of that ID (or name, where Slack takes one). Raises SlackRefusal."""
        name = str(wanted or "")
        if name in self.channels:
            return self.channels[name]
        for channel in self.channels.values():
            if by_name and channel.name == name.removeprefix("#"):
                return channel
        raise SlackRefusal("channel_not_found")

    def messages(self, channel: str) -> tuple[Message, ...]:
        """What the channel shows, oldest first: everything but replies that were not broadcast."""
        found = [
            message
            for message in self._messages.values()
            if message.channel == channel and (not message.is_reply or message.broadcast)
        ]
        return tuple(sorted(found, key=lambda message: message.ts))

    def thread(self, channel: str, ts: str) -> tuple[Message, ...]:
        """The replies under `ts`, oldest first, without the parent."""
        found = [
            message
            for message in self._messages.values()
            if message.channel == channel and message.is_reply and message.thread_ts == ts
        ]
        return tuple(sorted(found, key=lambda message: message.ts))

    def get(self, channel: str, ts: str) -> Message | None:
        return self._messages.get((channel, ts))

    # Writing

    def post(self, message: Message) -> Message:
        """Store a new message under a fresh ts.

        A thread whose parent is gone: Slack posts in the channel, and only the answer's lacking `thread_ts` tells
        (slack-go#1571). A thread on a reply's ts is a caller's mistake: Slack warns of it, the stand-in refuses it.
        """
        parent = self.get(message.channel, message.thread_ts) if message.thread_ts else None
        if parent is None:
            message.thread_ts, message.broadcast = "", False
        elif parent.is_reply:
            raise SlackRefusal("thread_not_found")
        message.ts = self._next_ts()
        return self._keep(message)

    def edit(self, channel: str, ts: str, **changes: Any) -> Message:
        """Change a message in place; nobody is notified. Raises SlackRefusal when it is gone."""
        message = self.get(channel, ts)
        if message is None or message.tombstone:
            raise SlackRefusal("message_not_found")
        if self._edit_window is not None and self._now() - message.posted_at > self._edit_window:
            raise SlackRefusal("edit_window_closed")
        for name, value in changes.items():
            setattr(message, name, value)
        message.edits += 1
        message.edited = message.edited or not message.blocks
        return self._keep(message)

    def delete(self, channel: str, ts: str) -> None:
        message = self.get(channel, ts)
        if message is None or message.tombstone:
            raise SlackRefusal("message_not_found")
        if self.thread(channel, ts):
            message.text, message.blocks, message.attachments = "This message was deleted.", [], []
            message.metadata, message.tombstone = None, True
            self._keep(message)
        else:
            del self._messages[channel, ts]
            self._append({"deleted": [channel, ts]})

    def react(self, channel: str, ts: str, name: str, *, remove: bool = False) -> None:
        message = self.get(channel, ts)
        if message is None:
            raise SlackRefusal("message_not_found")
        if remove != (name in message.reactions):
            raise SlackRefusal("no_reaction" if remove else "already_reacted")
        (message.reactions.remove if remove else message.reactions.append)(name)
        self._keep(message)

    def clear(self) -> None:
        """Forget every message."""
        for channel, ts in list(self._messages):
            del self._messages[channel, ts]
            self._append({"deleted": [channel, ts]})

    # Keeping

    def _next_ts(self) -> str:
        """Slack's ts: seconds and microseconds, unique and rising within the workspace."""
        self._last = max(int(self._now() * 1_000_000), self._last + 1)
        return f"{self._last // 1_000_000}.{self._last % 1_000_000:06d}"

    def _keep(self, message: Message) -> Message:
        message.changed_at = self._now()
        self._messages[message.channel, message.ts] = message
        self._append({"message": asdict(message)})
        return message

    def _append(self, entry: dict[str, Any]) -> None:
        if self._log is not None:
            self._log.write(json.dumps(entry) + "\n")
            self._log.flush()
            os.fsync(self._log.fileno())
        self._on_change()

    def _load(self, state: Path) -> None:
        for entry in _whole_lines(state):
            if "message" in entry:
                message = Message(**entry["message"])
                self._messages[message.channel, message.ts] = message
                self._last = max(self._last, int(message.ts.replace(".", "")))
            else:
                self._messages.pop(tuple(entry["deleted"]), None)


def _whole_lines(state: Path) -> Iterator[dict[str, Any]]:
    """The entries; a last line that a kill cut short was never answered, so it is left out."""
    if not state.exists():
        return
    text = state.read_text(encoding="utf-8")
    if text and not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        state.write_text(text, encoding="utf-8")
    for line in text.splitlines():
        yield json.loads(line)
