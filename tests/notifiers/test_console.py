"""The console: a readable line for each notification."""

from __future__ import annotations

import io
import sys
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from notifiers.console import SPEC, ConsoleNotifier, ConsoleSettings, line_of
from tocsin.errors import Refused
from tocsin.model import Action, Mention, Reason
from tocsin.ports import NotifierContext
from tocsin.testing.notifications import a_notification, a_resolved_incident, an_alert, an_incident

UTC = ZoneInfo("UTC")


def console(context: NotifierContext, **settings: Any) -> ConsoleNotifier:
    values = {"kind": "console", "name": "screen", **settings}
    return ConsoleNotifier(ConsoleSettings.model_validate(values), context)


def test_a_line_says_when_what_and_why() -> None:
    """And whom it would have woken."""
    assert line_of(a_notification(mentions=(Mention(kind="user", id="ana"),)), UTC) == (
        "14:05:00 UTC FIRING P0 checkout-api: 12.4 % of requests fail (limit 0.1 %) · since 14:02 UTC, 3 min · @ana "
        "· a new incident [i-3f9a2c]"
    )


def test_the_end_is_a_line_too() -> None:
    """In the zone of the settings."""
    notification = a_notification(a_resolved_incident(), action=Action.RESOLVE, because="recovered")
    assert line_of(notification, ZoneInfo("Europe/Berlin")) == (
        "15:05:00 CET RESOLVED P0 checkout-api: 12.4 % of requests fail (limit 0.1 %) · since 15:02 CET, 3 min "
        "· recovered [i-3f9a2c]"
    )


def test_a_storm_is_one_line() -> None:
    """With its counts."""
    storm = a_notification(an_incident(), an_incident(id="i-2"), reason=Reason.OVER_BUDGET, because="2 folded")
    assert line_of(storm, UTC) == (
        "14:05:00 UTC POST P0 2 incidents, 2 alerts firing: checkout-api · 2 folded [i-3f9a2c]"
    )


def test_a_label_can_neither_break_the_line_nor_steer_the_terminal() -> None:
    """Line ends and escape sequences are gone."""
    alert = an_alert(annotations={"summary": "a\nb\x1b[2Jc\r\x07"})
    line = line_of(a_notification(an_incident(members=(alert,))), UTC)
    assert ("a b[2Jc" in line, [sign for sign in line if ord(sign) < 32]) == (True, [])


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_the_line_goes_to_the_stream_of_the_settings(
    context: NotifierContext, capsys: pytest.CaptureFixture[str], stream: str
) -> None:
    """And the receipt names it."""
    receipt = await console(context, stream=stream).send(a_notification(), None)
    captured = capsys.readouterr()
    written = {"stdout": captured.out, "stderr": captured.err}
    assert (written[stream].count("\n"), receipt.destination) == (1, stream)


async def test_a_closed_stream_is_a_refusal(context: NotifierContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the next destination is tried."""
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    notifier = console(context)
    with pytest.raises(Refused, match="stdout can't be written"):
        await notifier.send(a_notification(), None)
    assert not (await notifier.check()).ok


def test_a_wrong_zone_is_refused() -> None:
    """At start."""
    with pytest.raises(ValidationError, match="no such time zone"):
        ConsoleSettings.model_validate({"kind": "console", "name": "x", "timezone": "Mars"})


def test_the_console_cannot_edit() -> None:
    """Nor thread."""
    assert (SPEC.kind, SPEC.edits) == ("console", False)


def test_what_a_silence_hid_is_one_line() -> None:
    """As of several incidents, though it may be one."""
    told = a_notification(action=Action.DIGEST, reason=Reason.SILENCE_ENDED, because="silence s-1 of ana has ended")
    line = line_of(told, UTC)
    assert "DIGEST A silence ended. It hid 1 incident, 1 alert still firing: " in line
    assert "silence s-1 of ana has ended" in line
