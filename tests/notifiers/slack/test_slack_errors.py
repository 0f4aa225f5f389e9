"""What each answer of Slack's makes the delivery do next: every code of the error table, one row each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from notifiers.slack import SlackNotifier
from notifiers.slack.errors import DEFAULT_WAIT, LONGEST_WAIT, error_of, wait_of
from tocsin.errors import DeliveryError, EditLost, Refused, Throttled, TooLarge, Unavailable, Uncertain
from tocsin.model import Action
from tocsin.testing.notifications import a_notification
from tocsin.testing.slack import DEFAULT_TOKEN, Channel, FakeSlack, Kind

CONFIG = [
    "invalid_auth",
    "token_revoked",
    "token_expired",
    "account_inactive",
    "missing_scope",
    "channel_not_found",
    "not_in_channel",
    "is_archived",
    "restricted_action",
    "restricted_action_read_only_channel",
    "restricted_action_thread_only_channel",
    "no_permission",
    "not_authed",
    "ekm_access_denied",
    "team_access_not_granted",
    "message_limit_exceeded",
]
PAYLOAD = [
    "invalid_blocks",
    "invalid_blocks_format",
    "msg_blocks_too_long",
    "msg_too_long",
    "too_many_attachments",
    "metadata_too_large",
    "a_code_that_slack_invents_tomorrow",
]
EDIT_LOST = ["message_not_found", "cant_update_message", "edit_window_closed", "is_inactive", "thread_not_found"]
RETRYABLE = ["ratelimited", "rate_limited"]
UNAVAILABLE = ["service_unavailable", "update_failed", "request_timeout"]
AMBIGUOUS = ["internal_error", "fatal_error"]
ROWS = [
    *((code, Refused) for code in CONFIG),
    *((code, TooLarge) for code in PAYLOAD),
    *((code, EditLost) for code in EDIT_LOST),
    *((code, Throttled) for code in RETRYABLE),
    *((code, Unavailable) for code in UNAVAILABLE),
    *((code, Uncertain) for code in AMBIGUOUS),
]


@pytest.mark.parametrize(("code", "expected"), ROWS)
def test_every_code_has_its_next_action(code: str, expected: type[DeliveryError]) -> None:
    """Callers match on the class, so each code must be of the right one."""
    assert expected is type(error_of(code, method="chat.postMessage"))


@pytest.mark.parametrize("code", CONFIG)
def test_every_refusal_says_how_to_mend_it(code: str) -> None:
    """The owner of the channel reads it, not the author of the code."""
    error = error_of(code, method="chat.postMessage")
    assert isinstance(error, Refused)
    assert error.mend != ""


@pytest.mark.parametrize(("code", "expected"), [row for row in ROWS if row[1] is not TooLarge and row[0] in CONFIG])
async def test_a_refused_post_is_tried_once(
    notifier: SlackNotifier, slack: FakeSlack, code: str, expected: type[DeliveryError]
) -> None:
    """Fail-over must come at once: no second try, no plainer form."""
    slack.inject("chat.postMessage", Kind.ERROR, error=code)
    with pytest.raises(expected):
        await notifier.send(a_notification(), None)
    assert len(slack.called("chat.postMessage")) == 1


@pytest.mark.parametrize("code", PAYLOAD)
async def test_a_refused_form_is_followed_by_a_plainer_one(
    notifier: SlackNotifier, slack: FakeSlack, code: str
) -> None:
    """The second form has the headline alone, and the receipt says what happened."""
    slack.inject("chat.postMessage", Kind.ERROR, error=code)
    receipt = await notifier.send(a_notification(), None)
    (message,) = slack.messages()
    assert (len(message.blocks), receipt.degraded.startswith("not whole: ") and code in receipt.degraded) == (1, True)


async def test_the_last_form_is_plain_text(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """Formatting never holds back a P0."""
    slack.inject("chat.postMessage", Kind.ERROR, times=2, error="invalid_blocks")
    receipt = await notifier.send(a_notification(), None)
    assert ([], "not short: " in receipt.degraded) == (slack.messages()[0].blocks, True)


async def test_an_edit_steps_down_too(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """chat.update has the same limits, and text without blocks removes those of the message."""
    parent = await notifier.send(a_notification(), None)
    slack.inject("chat.update", Kind.ERROR, times=2, error="msg_blocks_too_long")
    await notifier.send(a_notification(action=Action.EDIT), parent)
    assert slack.messages()[0].blocks == []


async def test_a_message_refused_in_every_form_is_refused(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """Then the next destination must have it: TooLarge would be tried for ever."""
    slack.inject("chat.postMessage", Kind.ERROR, times=3, error="invalid_arguments")
    with pytest.raises(Refused, match="every form"):
        await notifier.send(a_notification(), None)


async def test_too_many_requests_are_waited_for(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """As long as Slack says."""
    slack.inject("chat.postMessage", Kind.RATELIMITED, retry_after=17)
    with pytest.raises(Throttled) as caught:
        await notifier.send(a_notification(), None)
    assert caught.value.retry_after == 17.0


async def test_a_throttled_method_is_not_asked_again_meanwhile(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """Another message to the channel is told to wait without a call, which would only prolong it."""
    slack.inject("chat.postMessage", Kind.RATELIMITED, retry_after=17)
    for _ in range(2):
        with pytest.raises(Throttled):
            await notifier.send(a_notification(), None)
    assert len(slack.called("chat.postMessage")) == 1


async def test_throttled_posts_leave_edits_alone(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """Slack's limits are counted by method."""
    parent = await notifier.send(a_notification(), None)
    slack.inject("chat.postMessage", Kind.RATELIMITED, retry_after=17)
    with pytest.raises(Throttled):
        await notifier.send(a_notification(), None)
    await notifier.send(a_notification(action=Action.EDIT), parent)
    assert slack.messages()[0].edits == 1


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("5", 5.0),
        ("0.5", 0.5),
        (None, DEFAULT_WAIT),
        ("soon", DEFAULT_WAIT),
        ("nan", DEFAULT_WAIT),
        ("-3", 0.0),
        ("999999", LONGEST_WAIT),
        ("inf", LONGEST_WAIT),
    ],
)
def test_any_retry_after_gives_a_sane_wait(header: str | None, expected: float) -> None:
    """A header that is missing, wrong or huge must neither hammer Slack nor silence a channel."""
    assert expected == wait_of(header)


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
async def test_a_server_error_may_have_sent_it(notifier: SlackNotifier, slack: FakeSlack, status: int) -> None:
    """A gateway's error says nothing about what Slack did behind it."""
    slack.inject("chat.postMessage", Kind.STATUS, status=status)
    with pytest.raises(Uncertain):
        await notifier.send(a_notification(), None)


@pytest.mark.parametrize("status", [403, 404, 407])
async def test_a_proxys_refusal_is_a_refusal(notifier: SlackNotifier, slack: FakeSlack, status: int) -> None:
    """It never reached Slack, and trying again won't help."""
    slack.inject("chat.postMessage", Kind.STATUS, status=status)
    with pytest.raises(Refused, match=str(status)):
        await notifier.send(a_notification(), None)


async def test_a_page_instead_of_an_answer_is_uncertain(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """A captive portal answers 200 to everything; what it did with the message nobody knows."""
    slack.inject("chat.postMessage", Kind.HTML)
    with pytest.raises(Uncertain):
        await notifier.send(a_notification(), None)


async def test_a_wrong_token_is_refused_with_what_to_do(
    notifier_for: Callable[..., SlackNotifier], slack: FakeSlack
) -> None:
    """Not an exception of the library's."""
    with pytest.raises(Refused) as caught:
        await notifier_for(slack, token="xoxb-wrong").send(a_notification(), None)
    assert (
        str(caught.value),
        "Bot User OAuth Token" in caught.value.mend,
    ) == ("Slack's chat.postMessage answered invalid_auth", True)


@pytest.mark.parametrize(
    ("channel", "code"),
    [
        (Channel(id="C0ALERTS", name="alerts", member=False), "not_in_channel"),
        (Channel(id="C0ALERTS", name="alerts", archived=True), "is_archived"),
        (Channel(id="C0ALERTS", name="alerts", member=False, private=True), "channel_not_found"),
        (Channel(id="C0OTHER", name="other"), "channel_not_found"),
    ],
)
async def test_a_channel_that_cannot_be_written_is_refused(
    notifier_for: Callable[..., SlackNotifier], channel: Channel, code: str
) -> None:
    """Each as the stand-in itself answers it."""
    async with FakeSlack(channels=(channel,)) as slack:
        with pytest.raises(Refused, match=code):
            await notifier_for(slack).send(a_notification(), None)


async def test_a_missing_scope_is_named(notifier_for: Callable[..., SlackNotifier]) -> None:
    """The one that is needed, so that it can be added."""
    async with FakeSlack(scopes=("channels:read",)) as slack:
        with pytest.raises(Refused, match="chat:write"):
            await notifier_for(slack).send(a_notification(), None)


async def test_no_error_shows_the_token(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """Errors are logged, stored and shown in the console."""
    texts = []
    for kind in (Kind.ERROR, Kind.STATUS, Kind.HTML, Kind.RESET, Kind.RATELIMITED):
        slack.inject("chat.postMessage", kind)
        with pytest.raises(DeliveryError) as caught:
            await notifier.send(a_notification(), None)
        texts.append(str(caught.value) + repr(caught.value.__cause__))
    assert [text for text in texts if DEFAULT_TOKEN in text] == []
