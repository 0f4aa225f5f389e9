"""Slack's Web API methods over a `Workspace`: arguments in, the answer's fields out, or a SlackRefusal."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from tocsin.testing.slack.limits import MAX_POST_TEXT, problem_of
from tocsin.testing.slack.workspace import Channel, Message, SlackRefusal, Workspace

TEAM_ID: Final = "T0TOCSIN"
BOT_USER: Final = "U0TOCSIN"
BOT_ID: Final = "B0TOCSIN"
BOT_NAME: Final = "tocsin"

Answer = dict[str, Any]
T = TypeVar("T")

NEEDS: Final[dict[str, tuple[str, ...]]] = {
    "chat.postMessage": ("chat:write",),
    "chat.update": ("chat:write",),
    "chat.delete": ("chat:write",),
    "conversations.info": ("channels:read", "groups:read"),
    "conversations.list": ("channels:read", "groups:read"),
    "conversations.history": ("channels:history", "groups:history"),
    "conversations.replies": ("channels:history", "groups:history"),
    "reactions.add": ("reactions:write",),
    "reactions.remove": ("reactions:write",),
    "files.getUploadURLExternal": ("files:write",),
    "files.completeUploadExternal": ("files:write",),
}
"""The scope a method needs: any one of them."""
ALL_SCOPES: Final = tuple(sorted({scope for scopes in NEEDS.values() for scope in scopes}))


class Methods:
    """`call(method, args)` answers as Slack does, for a token of `scopes`."""

    def __init__(self, workspace: Workspace, *, scopes: Sequence[str], url: Callable[[], str]) -> None:
        self.workspace = workspace
        self.scopes = tuple(scopes)
        self._url = url
        self._methods: dict[str, Callable[[Answer], Answer]] = {
            "api.test": lambda args: {"args": args},
            "auth.test": self._auth_test,
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "chat.delete": self._delete,
            "chat.getPermalink": self._permalink,
            "conversations.info": self._info,
            "conversations.list": self._list,
            "conversations.history": self._history,
            "conversations.replies": self._replies,
            "reactions.add": self._react,
            "reactions.remove": lambda args: self._react(args, remove=True),
            "files.getUploadURLExternal": self._upload_url,
            "files.completeUploadExternal": self._complete_upload,
        }

    def call(self, method: str, args: Answer) -> Answer:
        """The answer's fields beside `ok: true`. Raises SlackRefusal."""
        if method not in self._methods:
            raise SlackRefusal("unknown_method", req_method=method)
        needed = NEEDS.get(method, ())
        if needed and not set(needed) & set(self.scopes):
            raise SlackRefusal("missing_scope", needed=needed[0], provided=",".join(self.scopes))
        return self._methods[method](args)

    def _auth_test(self, _: Answer) -> Answer:
        team = {"url": self._url(), "team": "Tocsin", "team_id": TEAM_ID}
        return {**team, "user": BOT_NAME, "user_id": BOT_USER, "bot_id": BOT_ID, "is_enterprise_install": False}

    # Messages

    def _post(self, args: Answer) -> Answer:
        channel = self._open_channel(args, by_name=True, needs_member="chat:write.public" not in self.scopes)
        _refuse_bad(args, edit=False)
        broadcast = _true(args.get("reply_broadcast"))
        message = Message(
            channel=channel.id,
            ts="",
            text=str(args.get("text") or "")[:MAX_POST_TEXT],
            blocks=args.get("blocks") or [],
            attachments=args.get("attachments") or [],
            metadata=args.get("metadata"),
            thread_ts=str(args.get("thread_ts") or ""),
            broadcast=broadcast,
            username=str(args.get("username") or ""),
            icon=str(args.get("icon_emoji") or args.get("icon_url") or ""),
        )
        self.workspace.post(message)
        return {"channel": channel.id, "ts": message.ts, "message": self._shown(message, metadata=True)}

    def _update(self, args: Answer) -> Answer:
        channel = self._open_channel(args, needs_member=False)
        _refuse_bad(args, edit=True)
        changes: Answer = {"text": str(args.get("text") or "")}
        # Text without blocks removes the blocks; attachments and metadata stay unless they are given.
        changes["blocks"] = args.get("blocks") or []
        changes |= {name: args[name] for name in ("attachments", "metadata") if args.get(name) is not None}
        message = self.workspace.edit(channel.id, str(args.get("ts") or ""), **changes)
        return {"channel": channel.id, "ts": message.ts, "text": message.text, "message": self._shown(message)}

    def _delete(self, args: Answer) -> Answer:
        channel = self._open_channel(args, needs_member=False)
        self.workspace.delete(channel.id, str(args.get("ts") or ""))
        return {"channel": channel.id, "ts": args.get("ts")}

    def _permalink(self, args: Answer) -> Answer:
        channel = self.workspace.channel(args.get("channel"))
        message = self.workspace.get(channel.id, str(args.get("message_ts") or ""))
        if message is None:
            raise SlackRefusal("message_not_found")
        link = f"{self._url()}archives/{channel.id}/p{message.ts.replace('.', '')}"
        if message.is_reply:
            link += f"?thread_ts={message.thread_ts}&cid={channel.id}"
        return {"channel": channel.id, "permalink": link}

    def _react(self, args: Answer, *, remove: bool = False) -> Answer:
        channel = self._open_channel(args)
        self.workspace.react(channel.id, str(args.get("timestamp") or ""), str(args.get("name") or ""), remove=remove)
        return {}

    # Conversations

    def _info(self, args: Answer) -> Answer:
        return {"channel": _described(self.workspace.channel(args.get("channel")))}

    def _list(self, args: Answer) -> Answer:
        shown = [_described(channel) for channel in self.workspace.channels.values()]
        page, cursor = _page(shown, args)
        return {"channels": page, "response_metadata": {"next_cursor": cursor}}

    def _history(self, args: Answer) -> Answer:
        channel = self._readable(args)
        messages = [message for message in self.workspace.messages(channel.id) if _within(message, args)]
        return self._paged(list(reversed(messages)), args)

    def _replies(self, args: Answer) -> Answer:
        channel = self._readable(args)
        parent = self.workspace.get(channel.id, str(args.get("ts") or ""))
        if parent is None:
            raise SlackRefusal("thread_not_found")
        replies = [message for message in self.workspace.thread(channel.id, parent.ts) if _within(message, args)]
        return self._paged([parent, *replies], args)

    def _paged(self, messages: list[Message], args: Answer) -> Answer:
        metadata = _true(args.get("include_all_metadata"))
        page, cursor = _page(messages, args)
        shown = [self._shown(message, metadata=metadata) for message in page]
        return {"messages": shown, "has_more": bool(cursor), "response_metadata": {"next_cursor": cursor}}

    # Files

    def _upload_url(self, args: Answer) -> Answer:
        if not args.get("filename") or not str(args.get("length") or "").isdigit():
            raise SlackRefusal("invalid_arguments")
        file_id = "F" + secrets.token_hex(5).upper()
        self.workspace.files[file_id] = {"id": file_id, "name": str(args["filename"]), "body": b""}
        return {"file_id": file_id, "upload_url": f"{self._url()}upload/{file_id}"}

    def _complete_upload(self, args: Answer) -> Answer:
        wanted = args.get("files") or []
        if not wanted or any(item.get("id") not in self.workspace.files for item in wanted):
            raise SlackRefusal("file_not_found")
        files = [{"id": item["id"], "title": item.get("title", "")} for item in wanted]
        if args.get("channel_id"):
            channel = self._open_channel({"channel": args["channel_id"]})
            names = [str(self.workspace.files[item["id"]]["name"]) for item in wanted]
            text = str(args.get("initial_comment") or "")
            thread_ts = str(args.get("thread_ts") or "")
            self.workspace.post(Message(channel=channel.id, ts="", text=text, thread_ts=thread_ts, files=names))
        return {"files": files}

    # Shared

    def _open_channel(self, args: Answer, *, by_name: bool = False, needs_member: bool = True) -> Channel:
        channel = self.workspace.channel(args.get("channel"), by_name=by_name)
        if channel.archived:
            raise SlackRefusal("is_archived")
        if not channel.member and channel.private:
            raise SlackRefusal("channel_not_found")
        if not channel.member and needs_member:
            raise SlackRefusal("not_in_channel")
        return channel

    def _readable(self, args: Answer) -> Channel:
        channel = self.workspace.channel(args.get("channel"))
        if not channel.member:
            raise SlackRefusal("channel_not_found" if channel.private else "not_in_channel")
        scope = "groups:history" if channel.private else "channels:history"
        if scope not in self.scopes:
            raise SlackRefusal("missing_scope", needed=scope, provided=",".join(self.scopes))
        return channel

    def _shown(self, message: Message, *, metadata: bool = False) -> Answer:
        shown: Answer = {"type": "message", "ts": message.ts, "user": BOT_USER, "bot_id": BOT_ID, "text": message.text}
        shown |= {"blocks": message.blocks} if message.blocks else {}
        shown |= {"attachments": message.attachments} if message.attachments else {}
        shown |= {"edited": {"user": BOT_USER, "ts": message.ts}} if message.edited else {}
        shown |= {"reactions": [{"name": name, "count": 1} for name in message.reactions]} if message.reactions else {}
        if message.is_reply:
            shown["thread_ts"] = message.thread_ts
            shown |= {"subtype": "thread_broadcast"} if message.broadcast else {}
        elif replies := self.workspace.thread(message.channel, message.ts):
            shown |= {"thread_ts": message.ts, "reply_count": len(replies), "latest_reply": replies[-1].ts}
        if message.tombstone:
            shown["subtype"] = "tombstone"
        if metadata and message.metadata is not None:
            shown["metadata"] = message.metadata
        return shown


def _refuse_bad(args: Answer, *, edit: bool) -> None:
    problem = problem_of(args, edit=edit)
    if problem is not None:
        notes = {"messages": [f"[ERROR] {detail}" for detail in problem.details]}
        more: Answer = {"errors": list(problem.details), "response_metadata": notes} if problem.details else {}
        raise SlackRefusal(problem.error, **more)


def _described(channel: Channel) -> Answer:
    return {
        "id": channel.id,
        "name": channel.name,
        "is_member": channel.member,
        "is_archived": channel.archived,
        "is_private": channel.private,
        "is_channel": not channel.private,
    }


def _within(message: Message, args: Answer) -> bool:
    """Slack's bounds: `oldest` and `latest` are exclusive unless `inclusive`."""
    inclusive = _true(args.get("inclusive"))
    ts, oldest, latest = _ticks(message.ts), args.get("oldest"), args.get("latest")
    if oldest and (ts < _ticks(oldest) or (ts == _ticks(oldest) and not inclusive)):
        return False
    return not (latest and (ts > _ticks(latest) or (ts == _ticks(latest) and not inclusive)))


def _ticks(ts: object) -> int:
    """Microseconds: a float would not hold a ts exactly."""
    match = re.fullmatch(r"(\d+)(?:\.(\d{1,6})\d*)?", str(ts))
    if match is None:
        raise SlackRefusal("invalid_ts_oldest")
    return int(match[1]) * 1_000_000 + int((match[2] or "0").ljust(6, "0"))


def _page(items: list[T], args: Answer) -> tuple[list[T], str]:
    try:
        start = int(base64.b64decode(str(args.get("cursor") or "")) or b"0")
        limit = min(int(args.get("limit") or 100), 999)
    except ValueError:
        raise SlackRefusal("invalid_cursor") from None
    end = start + limit
    cursor = base64.b64encode(str(end).encode()).decode() if end < len(items) else ""
    return items[start:end], cursor


def _true(value: object) -> bool:
    return value in (True, 1, "1", "true", "True")
