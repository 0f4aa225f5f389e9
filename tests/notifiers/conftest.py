"""Fixtures for the notifiers: a stand-in Slack and notifiers that send to it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from notifiers.slack import SlackNotifier, SlackSettings
from tocsin.ports import NotifierContext
from tocsin.testing.clock import VirtualClock
from tocsin.testing.slack import FakeSlack


@pytest.fixture
def context(tmp_path: Path) -> NotifierContext:
    """A clock that stands still, an empty folder, a console."""
    return NotifierContext(clock=VirtualClock(), folder=tmp_path, console_url="https://tocsin.example")


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    """A stand-in Slack with the channel #alerts (C0ALERTS)."""
    async with FakeSlack() as slack:
        yield slack


@pytest.fixture
async def notifier_for(context: NotifierContext) -> AsyncIterator[Callable[..., SlackNotifier]]:
    """`notifier_for(slack, channel=…)`: a notifier named slack-pages that sends there without pause."""
    built: list[SlackNotifier] = []

    def build(slack: FakeSlack, **settings: Any) -> SlackNotifier:
        usual = {"kind": "slack", "name": "slack-pages", "channel": "C0ALERTS", "token": slack.token, "spacing": 0}
        values = {**usual, "base_url": slack.base_url, **settings}
        notifier = SlackNotifier(SlackSettings.model_validate(values), context)
        built.append(notifier)
        return notifier

    yield build
    for notifier in built:
        await notifier.close()


@pytest.fixture
def notifier(slack: FakeSlack, notifier_for: Callable[..., SlackNotifier]) -> SlackNotifier:
    """A notifier that sends to #alerts of the stand-in."""
    return notifier_for(slack)


@pytest.fixture
def unused_port() -> int:
    """A port on which nobody listens: it was free a moment ago, and is not given out again so soon."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
