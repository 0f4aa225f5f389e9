"""What config.yaml may say about a Slack channel, and what a wrong value is answered with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from notifiers.slack import SPEC, SlackSettings
from tocsin.errors import Refused

USUAL = {"kind": "slack", "name": "slack-pages", "channel": "C0123ABCDEF"}


def settings(**values: Any) -> SlackSettings:
    return SlackSettings.model_validate({**USUAL, **values})


def test_a_channel_and_a_name_are_enough() -> None:
    """The token then comes from SLACK_BOT_TOKEN."""
    assert (settings().channel, settings().spacing, settings().timezone) == ("C0123ABCDEF", 1.0, "UTC")


@pytest.mark.parametrize("channel", ["#alerts", "alerts", "@ana", "c0123abcdef", "C01 23", ""])
def test_a_channels_name_is_refused_with_how_to_find_its_id(channel: str) -> None:
    """chat.update takes no name, so a name would post and then never edit."""
    with pytest.raises(ValidationError, match="copy the ID at the end of the About tab"):
        settings(channel=channel)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"token": "xoxb-a", "token_env": "A"}, "token_env and token are given; keep one of them"),
        ({"base_url": "http://slack.example/api/"}, "would send the token in clear"),
        ({"base_url": "slack.com"}, "wants an address"),
        ({"timezone": "Mars/Olympus"}, "no such time zone"),
        ({"timezone": "../etc/passwd"}, "no such time zone"),
        ({"mentions": {"ana": "ana@example.com"}}, "Copy member ID"),
        ({"icon_emoji": ":bell:"}, "needs username"),
        ({"icon_emoji": "bell", "username": "x"}, "pattern"),
        ({"spacing": "-1s"}, "not a duration"),
        ({"chanel": "C0"}, "Extra inputs"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_wanted(values: dict[str, Any], message: str) -> None:
    """At start, not at the first alert."""
    with pytest.raises(ValidationError, match=message):
        settings(**values)


def test_a_stand_in_on_this_machine_may_be_plain_http() -> None:
    """For tests and the demo; the API's address ends in a slash."""
    assert settings(base_url="http://127.0.0.1:8080/api").base_url == "http://127.0.0.1:8080/api/"


def test_a_token_never_shows_in_a_dump() -> None:
    """Settings are logged."""
    assert "xoxb-secret" not in repr(settings(token="xoxb-secret"))


def test_the_token_comes_from_the_named_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the line end that a secret store may add."""
    monkeypatch.setenv("ALERT_TOKEN", "xoxb-1-2\n")
    assert settings(token_env="ALERT_TOKEN").read_token(tmp_path) == "xoxb-1-2"


@pytest.mark.parametrize("token", ["xapp-1-2", "https://hooks.slack.com/services/T/B/x", "xoxb-1 2", "geheim"])
def test_what_is_no_bot_token_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, token: str) -> None:
    """An app token, a webhook's address: told before Slack answers invalid_auth. Its text is not shown."""
    monkeypatch.setenv("ALERT_TOKEN", token)
    with pytest.raises(Refused, match="no bot token") as caught:
        settings(token_env="ALERT_TOKEN").read_token(tmp_path)
    assert token not in str(caught.value)


def test_a_token_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Relative to config.yaml's folder."""
    with pytest.raises(Refused, match=str(tmp_path / "slack.token")):
        settings(token_file="slack.token").read_token(tmp_path)


def test_slack_can_edit() -> None:
    """So the policy sends edits and replies here."""
    assert (SPEC.kind, SPEC.edits) == ("slack", True)
