"""No answer is not a failure: what was certainly not sent is sent again, what may have been is looked for first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from notifiers.slack import SlackNotifier
from tocsin.errors import DeliveryError, Refused, Throttled, Unavailable, Uncertain
from tocsin.model import Action, Notification, Receipt
from tocsin.testing.notifications import a_notification, a_resolved_incident, an_acked_incident
from tocsin.testing.slack import FakeSlack, Kind

LOST_ANSWERS = [Kind.PROCESS_THEN_RESET, Kind.PROCESS_THEN_STATUS, Kind.PROCESS_THEN_HANG]
LOST_CALLS = [Kind.RESET, Kind.STATUS, Kind.HANG]


def fresh(notification: Notification) -> Notification:
    """As made just now by the machine's clock, which is the stand-in's."""
    return replace(notification, created_at=datetime.now(UTC))


async def deliver(notifier: SlackNotifier, notification: Notification, parent: Receipt | None = None) -> Receipt:
    """What a delivery does: send; where that is uncertain look, and send again only what is not there."""
    try:
        return await notifier.send(notification, parent)
    except Uncertain:
        return await notifier.find(notification, parent) or await notifier.send(notification, parent)


@pytest.fixture
def notifier(
    slack: FakeSlack, notifier_for: Callable[..., SlackNotifier], request: pytest.FixtureRequest
) -> SlackNotifier:
    """One that has patience with a busy machine, and less of it where the call is to hang."""
    call = getattr(request.node, "callspec", None)
    hangs = call is not None and call.params.get("kind") in (Kind.HANG, Kind.PROCESS_THEN_HANG)
    return notifier_for(slack, deadline=3.0 if hangs else 30.0)


@pytest.mark.parametrize("kind", LOST_ANSWERS)
async def test_a_post_whose_answer_was_lost_is_found(notifier: SlackNotifier, slack: FakeSlack, kind: Kind) -> None:
    """The receipt is that of the message which is there."""
    slack.inject("chat.postMessage", kind)
    notification = fresh(a_notification())
    with pytest.raises(Uncertain):
        await notifier.send(notification, None)
    found = await notifier.find(notification, None)
    assert found is not None
    assert [message.ts for message in slack.messages()] == [found.ref]


@pytest.mark.parametrize("kind", [*LOST_ANSWERS, *LOST_CALLS])
async def test_whatever_breaks_the_channel_holds_one_message(
    notifier: SlackNotifier, slack: FakeSlack, kind: Kind
) -> None:
    """Not none, not two."""
    slack.inject("chat.postMessage", kind)
    await deliver(notifier, fresh(a_notification()))
    assert len(slack.messages()) == 1


@pytest.mark.parametrize("kind", LOST_ANSWERS)
async def test_a_reply_whose_answer_was_lost_is_found_in_its_thread(
    notifier: SlackNotifier, slack: FakeSlack, kind: Kind
) -> None:
    """A thread's replies are not in the channel's history."""
    parent = await notifier.send(fresh(a_notification()), None)
    slack.inject("chat.postMessage", kind)
    await deliver(notifier, fresh(a_notification(a_resolved_incident(), action=Action.RESOLVE)), parent)
    assert len(slack.thread(slack.messages()[0])) == 1


async def test_a_reply_that_fell_out_of_its_thread_is_found(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """The parent was deleted, Slack put the reply into the channel, and then the answer was lost."""
    parent = await notifier.send(fresh(a_notification()), None)
    slack.workspace.delete("C0ALERTS", parent.ref)
    slack.inject("chat.postMessage", Kind.PROCESS_THEN_RESET)
    await deliver(notifier, fresh(a_notification(a_resolved_incident(), action=Action.RESOLVE)), parent)
    assert len(slack.messages()) == 1


async def test_an_edit_whose_answer_was_lost_is_found(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """It is read from the edited message itself."""
    parent = await notifier.send(fresh(a_notification()), None)
    slack.inject("chat.update", Kind.PROCESS_THEN_RESET)
    await deliver(notifier, fresh(a_notification(an_acked_incident(), action=Action.EDIT)), parent)
    assert slack.messages()[0].edits == 1


async def test_an_edit_that_was_not_made_is_not_found(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """The message still shows the post's key."""
    parent = await notifier.send(fresh(a_notification()), None)
    assert None is await notifier.find(fresh(a_notification(an_acked_incident(), action=Action.EDIT)), parent)


async def test_an_edit_that_a_later_one_overtook_counts_as_made(notifier: SlackNotifier) -> None:
    """Sending it again would show an older state."""
    parent = await notifier.send(fresh(a_notification()), None)
    await notifier.send(fresh(a_notification(a_resolved_incident(), action=Action.EDIT)), parent)
    found = await notifier.find(fresh(a_notification(an_acked_incident(), action=Action.EDIT)), parent)
    assert found is not None


async def test_a_post_is_found_after_it_was_edited(notifier: SlackNotifier) -> None:
    """An edit replaces the metadata, and keeps the first key in it."""
    post = fresh(a_notification())
    parent = await notifier.send(post, None)
    await notifier.send(fresh(a_notification(an_acked_incident(), action=Action.EDIT)), parent)
    found = await notifier.find(post, None)
    assert found is not None
    assert parent.ref == found.ref


async def test_what_was_never_sent_is_not_found(notifier: SlackNotifier) -> None:
    """Another incident's message is not ours."""
    await notifier.send(fresh(a_notification()), None)
    assert None is await notifier.find(replace(fresh(a_notification()), id="i-other:slack-pages:post:1"), None)


async def test_a_message_is_found_behind_many_others(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """A busy channel has more than one page of history."""
    wanted = fresh(a_notification())
    await notifier.send(wanted, None)
    for number in range(450):
        slack.methods.call("chat.postMessage", {"channel": "C0ALERTS", "text": f"chatter {number}"})
    found = await notifier.find(wanted, None)
    assert found is not None
    assert len(slack.called("conversations.history")) == 3


async def test_history_is_read_no_further_back_than_the_notification(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """A channel of years is not read to its beginning, and clocks a few minutes apart don't matter."""
    notification = a_notification()
    await notifier.find(notification, None)
    oldest = float(slack.called("conversations.history")[0].args["oldest"])
    assert notification.created_at.timestamp() - oldest == 15 * 60


async def test_an_unreachable_slack_was_certainly_not_told(notifier_for: Callable[..., SlackNotifier]) -> None:
    """Nobody listens: the message can be sent again without looking."""
    slack = FakeSlack()
    async with slack:
        notifier = notifier_for(slack)
    with pytest.raises(Unavailable):
        await notifier.send(a_notification(), None)


@pytest.mark.parametrize("kind", [Kind.STATUS, Kind.RESET, Kind.HANG, Kind.HTML])
async def test_a_failed_look_is_never_uncertain(notifier: SlackNotifier, slack: FakeSlack, kind: Kind) -> None:
    """Reading changes nothing: it is done again, and nothing is sent until it worked."""
    slack.inject("conversations.history", kind, times=2)  # aiohttp itself asks a GET once more
    with pytest.raises(Unavailable):
        await notifier.find(fresh(a_notification()), None)


async def test_a_throttled_look_waits(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """As a send does."""
    slack.inject("conversations.history", Kind.RATELIMITED, retry_after=9)
    with pytest.raises(Throttled) as caught:
        await notifier.find(fresh(a_notification()), None)
    assert caught.value.retry_after == 9.0


async def test_a_look_without_the_scope_says_which(notifier_for: Callable[..., SlackNotifier]) -> None:
    """Without channels:history nothing can be read back, and the owner must know."""
    async with FakeSlack(scopes=("chat:write", "channels:read")) as slack:
        with pytest.raises(Refused, match="channels:history"):
            await notifier_for(slack).find(fresh(a_notification()), None)


async def test_slack_sdk_sends_nothing_again_by_itself(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """Its default would post twice after a dropped connection."""
    slack.inject("chat.postMessage", Kind.PROCESS_THEN_RESET, times=3)
    with pytest.raises(DeliveryError):
        await notifier.send(a_notification(), None)
    assert len(slack.called("chat.postMessage")) == 1
