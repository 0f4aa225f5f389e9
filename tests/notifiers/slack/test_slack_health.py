"""Whether the channel could be reached, before an alert needs it: each gap with what mends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from notifiers.slack import SlackNotifier
from tocsin.testing.slack import ALL_SCOPES, Channel, FakeSlack, Kind


async def test_a_good_channel_is_healthy(notifier: SlackNotifier) -> None:
    """Nothing to mend."""
    health = await notifier.check()
    assert (health.ok, health.mend) == (True, "")


@pytest.mark.parametrize(
    ("channel", "mend"),
    [
        (Channel(id="C0ALERTS", name="alerts", member=False), "/invite @tocsin"),
        (Channel(id="C0ALERTS", name="alerts", archived=True), "unarchive #alerts"),
        (Channel(id="C0OTHER", name="other"), "check the channel's ID"),
    ],
)
async def test_a_channel_out_of_reach_is_told_with_its_mend(
    notifier_for: Callable[..., SlackNotifier], channel: Channel, mend: str
) -> None:
    """Not a member, archived, or not there."""
    async with FakeSlack(channels=(channel,)) as slack:
        health = await notifier_for(slack).check()
        assert (health.ok, mend in health.mend) == (False, True)


@pytest.mark.parametrize("scope", ["chat:write", "channels:history", "channels:read"])
async def test_each_missing_scope_is_named(notifier_for: Callable[..., SlackNotifier], scope: str) -> None:
    """Those that the header of every answer does not list."""
    async with FakeSlack(scopes=[each for each in ALL_SCOPES if each != scope]) as slack:
        health = await notifier_for(slack).check()
        assert (health.ok, f"add {scope} " in health.mend) == (False, True)


async def test_a_private_channel_needs_other_scopes(notifier_for: Callable[..., SlackNotifier]) -> None:
    """groups:history instead of channels:history."""
    channels = (Channel(id="C0ALERTS", name="alerts", private=True),)
    async with FakeSlack(channels=channels, scopes=("chat:write", "groups:read")) as slack:
        health = await notifier_for(slack).check()
        assert health.what == "the scope groups:history is missing (to look for a message whose answer was lost)"


async def test_another_name_needs_a_scope_of_its_own(
    notifier_for: Callable[..., SlackNotifier], slack: FakeSlack
) -> None:
    """Slack would ignore the name or refuse the post."""
    health = await notifier_for(slack, username="Night watch").check()
    assert "chat:write.customize" in health.what


async def test_a_wrong_token_is_told_as_such(notifier_for: Callable[..., SlackNotifier], slack: FakeSlack) -> None:
    """And nothing else is asked with it."""
    health = await notifier_for(slack, token="xoxb-wrong").check()
    assert (health.ok, "invalid_auth" in health.what, slack.called("conversations.info")) == (False, True, ())


async def test_a_token_that_is_not_set_is_told(
    notifier_for: Callable[..., SlackNotifier], slack: FakeSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the variable's name."""
    monkeypatch.delenv("ALERT_TOKEN", raising=False)
    health = await notifier_for(slack, token=None, token_env="ALERT_TOKEN").check()
    assert health.mend == "put the bot token (xoxb-…) into ALERT_TOKEN"


async def test_an_unreachable_slack_is_told(notifier: SlackNotifier, slack: FakeSlack) -> None:
    """A check never raises."""
    slack.inject("*", Kind.STATUS, times=9)
    assert not (await notifier.check()).ok


async def test_a_broken_template_is_told_before_it_is_needed(
    notifier_for: Callable[..., SlackNotifier], slack: FakeSlack, context: Any
) -> None:
    """Messages would still go out, but plain."""
    (context.folder / "looks").mkdir()
    (context.folder / "looks" / "incident.j2").write_text("{% block headline %}")
    health = await notifier_for(slack, templates="looks").check()
    assert (health.ok, health.mend) == (False, "mend the template")
