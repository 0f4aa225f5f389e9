"""What arrives in the channel, for each action."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from notifiers.slack import SlackNotifier, SlackSettings
from tocsin.errors import EditLost, Refused, Unavailable
from tocsin.model import Action, Mention, Severity
from tocsin.ports import NotifierContext
from tocsin.testing.notifications import (
    a_notification,
    a_receipt,
    a_resolved_incident,
    an_acked_incident,
    an_incident,
)
from tocsin.testing.slack import Channel, FakeSlack, Kind


async def test_a_post_is_one_message_and_its_receipt_says_where(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """The receipt holds the channel and Slack's own name of the message."""
    receipt = await notifier.send(a_notification(), None)
    (message,) = slack.messages()
    assert ("C0ALERTS", message.ts, "") == (receipt.destination, receipt.ref, receipt.degraded)


async def test_the_permalink_leads_to_the_message(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """It is the address that Slack itself gives."""
    receipt = await notifier.send(a_notification(), None)
    given = slack.methods.call("chat.getPermalink", {"channel": "C0ALERTS", "message_ts": receipt.ref})
    assert given["permalink"] == receipt.permalink


async def test_a_replys_permalink_names_its_thread(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """Without the thread's ts the address would not open the reply."""
    parent = await notifier.send(a_notification(), None)
    receipt = await notifier.send(a_notification(action=Action.THREAD), parent)
    given = slack.methods.call("chat.getPermalink", {"channel": "C0ALERTS", "message_ts": receipt.ref})
    assert given["permalink"] == receipt.permalink


async def test_a_permalink_that_cannot_be_learnt_holds_nothing_back(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """The message is delivered; its receipt goes without a link."""
    slack.inject("auth.test", Kind.STATUS)
    receipt = await notifier.send(a_notification(), None)
    assert (len(slack.messages()), receipt.permalink) == (1, "")


async def test_an_edit_changes_the_message_in_place(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """No second message appears, and Slack marks nothing as edited."""
    parent = await notifier.send(a_notification(), None)
    await notifier.send(a_notification(an_acked_incident(), action=Action.EDIT), parent)
    (message,) = slack.messages()
    assert ("Ana acked" in str(message.blocks), message.edits, message.edited) == (True, 1, False)


async def test_each_edit_has_block_ids_of_its_own(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """Slack's clients keep what they had of a block whose id they know."""
    parent = await notifier.send(a_notification(), None)
    before = {block["block_id"] for block in slack.messages()[0].blocks}
    await notifier.send(a_notification(an_acked_incident(), action=Action.EDIT), parent)
    assert set() == before & {block["block_id"] for block in slack.messages()[0].blocks}


async def test_an_edit_without_a_message_says_that_it_is_lost(notifier: SlackNotifier) -> None:
    """The delivery then posts anew."""
    with pytest.raises(EditLost):
        await notifier.send(a_notification(action=Action.EDIT), None)


async def test_a_replacement_links_the_message_that_was_lost(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """After EditLost a post is given the old receipt as its parent."""
    old = a_receipt(permalink="https://example.slack.com/archives/C0ALERTS/p1")
    await notifier.send(a_notification(), old)
    assert "<https://example.slack.com/archives/C0ALERTS/p1|Earlier message>" in str(slack.messages()[0].blocks)


@pytest.mark.parametrize("action", [Action.THREAD, Action.RESOLVE])
async def test_what_only_followers_need_goes_to_the_thread(
    notifier: SlackNotifier, slack: FakeSlack, action: Action
) -> None:
    """The channel shows the first message alone."""
    parent = await notifier.send(a_notification(), None)
    await notifier.send(a_notification(a_resolved_incident(), action=action), parent)
    (message,) = slack.messages()
    assert len(slack.thread(message)) == 1


@pytest.mark.parametrize("action", [Action.BROADCAST, Action.ESCALATE, Action.REMIND])
async def test_what_somebody_must_see_is_a_reply_shown_in_the_channel(
    notifier: SlackNotifier, slack: FakeSlack, action: Action
) -> None:
    """An edit or a plain reply notifies nobody in the channel."""
    parent = await notifier.send(a_notification(), None)
    await notifier.send(a_notification(action=action), parent)
    assert [message.broadcast for message in slack.messages()] == [False, True]


@pytest.mark.parametrize("action", [Action.RESOLVE, Action.ESCALATE, Action.THREAD])
async def test_a_reply_without_a_parent_is_posted(notifier: SlackNotifier, slack: FakeSlack, action: Action) -> None:
    """The first message may have gone elsewhere, by fail-over; what follows must not be lost."""
    await notifier.send(a_notification(action=action), None)
    assert len(slack.posted()) == 1


async def test_a_receipt_of_another_notifier_is_no_parent(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """A webhook's receipt names nothing that Slack could reply to."""
    await notifier.send(a_notification(action=Action.RESOLVE), a_receipt(notifier="webhook-backup", ref="x"))
    assert [message.thread_ts for message in slack.posted()] == [""]


async def test_a_reply_whose_thread_was_deleted_says_where_it_went(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """Slack puts it into the channel without an error; only the answer tells."""
    parent = await notifier.send(a_notification(), None)
    slack.workspace.delete("C0ALERTS", parent.ref)
    receipt = await notifier.send(a_notification(a_resolved_incident(), action=Action.RESOLVE), parent)
    assert receipt.degraded == "in the channel, as its thread is gone"


async def test_an_edit_stays_in_the_channel_of_its_message(
    notifier_for: Callable[..., SlackNotifier],
) -> None:
    """After the setting was changed, incidents that are open are told to their end where they began."""
    channels = (Channel(id="C0ALERTS", name="alerts"), Channel(id="C0OTHER", name="other"))
    async with FakeSlack(channels=channels) as slack:
        parent = await notifier_for(slack).send(a_notification(), None)
        moved = notifier_for(slack, channel="C0OTHER")
        await moved.send(a_notification(an_acked_incident(), action=Action.EDIT), parent)
        assert (slack.messages("C0ALERTS")[0].edits, len(slack.messages("C0OTHER"))) == (1, 0)


async def test_a_digest_is_one_message_about_all(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """One line for each incident."""
    incidents = [an_incident(id=f"i-{number}", severity=Severity.P2) for number in range(3)]
    await notifier.send(a_notification(*incidents, action=Action.DIGEST), None)
    (message,) = slack.messages()
    assert [incident.id in str(message.blocks) for incident in incidents] == [True] * 3


async def test_links_are_never_unfurled(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """A preview of a runbook would push the message off a phone's screen."""
    await notifier.send(a_notification(), None)
    args = slack.called("chat.postMessage")[0].args
    assert (args["unfurl_links"], args["unfurl_media"]) == (False, False)


async def test_every_message_carries_what_it_is_found_by(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """Incident, revision and key, and after an edit the first post's key as well."""
    parent = await notifier.send(a_notification(), None)
    edit = a_notification(an_acked_incident(), action=Action.EDIT)
    await notifier.send(edit, parent)
    expected = {"incident": "i-3f9a2c", "rev": 2, "key": edit.id, "first": a_notification().id}
    assert {"event_type": "tocsin_notification", "event_payload": expected} == slack.messages()[0].metadata


async def test_a_mention_from_routing_is_live(notifier_for: Callable[..., SlackNotifier], slack: FakeSlack) -> None:
    """A name that routes use becomes the ID that the settings give for it."""
    notifier = notifier_for(slack, mentions={"oncall": "S0ONCALL"})
    await notifier.send(a_notification(mentions=(Mention(kind="user", id="oncall"),)), None)
    assert "<!subteam^S0ONCALL>" in slack.messages()[0].blocks[0]["text"]["text"]


async def test_a_broken_template_does_not_hold_back_a_page(
    notifier_for: Callable[..., SlackNotifier], slack: FakeSlack, context: object
) -> None:
    """It goes out as plain text, and the receipt says why."""
    folder = context.folder / "looks"  # type: ignore[attr-defined]
    folder.mkdir()
    (folder / "incident.j2").write_text("{% block headline %}{{ 1 / 0 }}{% endblock %}{% block push %}x{% endblock %}")
    receipt = await notifier_for(slack, templates="looks").send(a_notification(), None)
    (message,) = slack.messages()
    assert (
        message.blocks,
        message.text.startswith("P0 checkout-api: 12.4 % of requests fail"),
        "ZeroDivisionError" in receipt.degraded,
    ) == ([], True, True)


async def test_a_template_of_the_operators_own_replaces_ours(
    notifier_for: Callable[..., SlackNotifier], slack: FakeSlack, context: object
) -> None:
    """A file of the same name in the `templates` folder is used, with the same escaping."""
    folder = context.folder / "looks"  # type: ignore[attr-defined]
    folder.mkdir()
    text = "{% block push %}mine{% endblock %}{% block headline %}mine: {{ facts.symptom }}{% endblock %}"
    (folder / "incident.j2").write_text(text)
    await notifier_for(slack, templates="looks").send(a_notification(), None)
    assert slack.messages()[0].blocks[0]["text"]["text"] == "mine: 12.4 % of requests fail (limit 0.1 %)"


async def test_nothing_is_sent_without_a_token(
    notifier_for: Callable[..., SlackNotifier], slack: FakeSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the variable that is not set."""
    monkeypatch.delenv("SLACK_BOT_TOKEN", raising=False)
    notifier = notifier_for(slack, token=None)
    with pytest.raises(Refused, match="SLACK_BOT_TOKEN"):
        await notifier.send(a_notification(), None)


async def test_a_rotated_token_file_is_read_anew(
    notifier_for: Callable[..., SlackNotifier], slack: FakeSlack, context: object
) -> None:
    """No reload is needed."""
    file = context.folder / "token"  # type: ignore[attr-defined]
    notifier = notifier_for(slack, token=None, token_file="token")
    file.write_text("xoxb-old\n")
    with pytest.raises(Refused, match="invalid_auth"):
        await notifier.send(a_notification(), None)
    file.write_text(slack.token + "\n")
    await notifier.send(a_notification(), None)
    assert len(slack.messages()) == 1


async def test_what_may_not_be_sent_does_not_leave(slack: FakeSlack, context: NotifierContext) -> None:
    """Another replica leads by now: asked when the connection is there, and certainly not sent. Looking is allowed."""
    leads = True

    def permit() -> None:
        if not leads:
            raise Unavailable("this replica does not lead")

    values = {
        "kind": "slack", "name": "slack-pages", "channel": "C0ALERTS", "token": slack.token, "spacing": 0,
        "base_url": slack.base_url,
    }  # fmt: skip
    notifier = SlackNotifier(SlackSettings.model_validate(values), replace(context, permit=permit))
    try:
        first = a_notification()
        parent = await notifier.send(first, None)
        leads = False
        for action, to in ((Action.POST, None), (Action.EDIT, parent), (Action.THREAD, parent)):
            with pytest.raises(Unavailable, match="does not lead"):
                await notifier.send(a_notification(an_incident(), action=action), to)
        found = await notifier.find(first, None)
        assert (len(slack.messages()), slack.messages()[0].edits, found and found.ref) == (1, 0, parent.ref)
    finally:
        await notifier.close()
