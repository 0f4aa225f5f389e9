"""What Slack's answers mean for the caller: every code of its error table as a DeliveryError. Pure.

Source: https://docs.slack.dev/reference/methods/chat.postMessage and chat.update, "Errors".
"""

from __future__ import annotations

import asyncio
from typing import Final

from tocsin.errors import DeliveryError, EditLost, Refused, Throttled, TooLarge, Unavailable, Uncertain
from tocsin.model import Seconds

DEFAULT_WAIT: Final[Seconds] = 30.0
"""For a 429 that does not say how long, or says it wrongly."""
LONGEST_WAIT: Final[Seconds] = 3600.0

_INSTALL_ANEW: Final = "install the Slack app anew and give Tocsin its Bot User OAuth Token (xoxb-…)"
_REFUSED: Final = {
    "invalid_auth": _INSTALL_ANEW,
    "not_authed": _INSTALL_ANEW,
    "token_revoked": _INSTALL_ANEW,
    "token_expired": _INSTALL_ANEW,
    "account_inactive": _INSTALL_ANEW,
    "org_login_required": "the workspace is being moved; try `tocsin doctor` later",
    "missing_scope": "add the scope under OAuth & Permissions and install the app anew",
    "channel_not_found": "check the channel's ID; a private channel is seen only after /invite in it",
    "not_in_channel": "invite the bot: /invite @BOT in the channel",
    "is_archived": "unarchive the channel or set another one",
    "no_permission": "give the app the right to post in this channel",
    "ekm_access_denied": "the workspace's keys are withdrawn: ask its administrator",
    "team_access_not_granted": "give the app access to this workspace",
    "not_allowed_token_type": _INSTALL_ANEW,
    "access_denied": "ask the workspace's administrator to allow the app",
    "message_limit_exceeded": "the workspace may not send more messages: ask its administrator",
    "unknown_method": "check base_url: it is not Slack's Web API",
}
_TOO_LARGE: Final = frozenset(
    {
        "invalid_blocks",
        "invalid_blocks_format",
        "invalid_attachments",
        "invalid_arguments",
        "invalid_arg_name",
        "invalid_json",
        "attachment_payload_limit_exceeded",
        "msg_blocks_too_long",
        "msg_too_long",
        "too_many_attachments",
        "too_many_contact_cards",
        "invalid_metadata_format",
        "invalid_metadata_schema",
        "metadata_must_be_sent_from_app",
        "metadata_too_large",
        "no_text",
    }
)
_EDIT_LOST: Final = frozenset(
    {
        "message_not_found",
        "cant_update_message",
        "edit_window_closed",
        "is_inactive",
        "cannot_reply_to_message",
        "thread_not_found",
        "message_not_owned_by_app",
    }
)
_THROTTLED: Final = frozenset({"ratelimited", "rate_limited", "accesslimited"})
_UNAVAILABLE: Final = frozenset({"service_unavailable", "update_failed", "request_timeout", "team_added_to_org"})
_UNCERTAIN: Final = frozenset({"internal_error", "fatal_error"})


def error_of(code: str, *, method: str, detail: str = "", retry_after: str | None = None) -> DeliveryError:
    """The error for an answer with `ok: false`. An unknown code is a refusal of the form: a plainer one is tried."""
    said = f"Slack's {method} answered {code}" + (f" ({detail})" if detail else "")
    if code in _REFUSED:
        return Refused(said, mend=_REFUSED[code])
    if code.startswith(("restricted_action", "slack_connect_")):
        return Refused(said, mend="a workspace setting keeps the app from posting here: ask an administrator")
    if code in _THROTTLED:
        return Throttled(said, retry_after=wait_of(retry_after))
    if code in _EDIT_LOST:
        return EditLost(said)
    if code in _UNAVAILABLE:
        return Unavailable(said)
    if code in _UNCERTAIN:
        return Uncertain(said)
    return TooLarge(said)


def error_of_status(status: int, *, method: str, retry_after: str | None = None) -> DeliveryError:
    """The error for an answer that is no answer of the Web API: from a proxy, a gateway or a broken front end."""
    said = f"{method} was answered with HTTP {status} and no answer of Slack's"
    if status == 429:
        return Throttled(said, retry_after=wait_of(retry_after))
    if status == 413:
        return TooLarge(said)
    if 400 <= status < 500 and status != 408:
        return Refused(said, mend="check base_url and the proxy between here and Slack")
    # 5xx, and a 200 whose body is cut or not JSON: Slack may have taken the message before.
    return Uncertain(said)


def error_of_exception(error: Exception, *, method: str) -> DeliveryError:
    """The error for a call that got no answer: never sent where connecting failed, else uncertain."""
    from aiohttp import ClientConnectorError, ConnectionTimeoutError, InvalidURL  # here, as aiohttp is slow to import

    if isinstance(error, DeliveryError):
        return error  # nothing was sent: this replica may not
    said = f"{method}: {type(error).__name__}" + (f": {error}" if str(error) else "")
    if isinstance(error, InvalidURL):
        return Refused(said, mend="check base_url")
    if isinstance(error, ClientConnectorError | ConnectionTimeoutError):
        return Unavailable(f"Slack can't be reached: {said}")
    if isinstance(error, asyncio.TimeoutError):
        return Uncertain(f"{method} was not answered in time")
    return Uncertain(f"the connection to Slack broke: {said}")


def wait_of(retry_after: str | None) -> Seconds:
    """Seconds from a Retry-After header."""
    try:
        seconds = float(retry_after or DEFAULT_WAIT)
    except ValueError:
        return DEFAULT_WAIT
    return min(max(seconds, 0.0), LONGEST_WAIT) if seconds == seconds else DEFAULT_WAIT
