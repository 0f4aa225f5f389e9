"""What counts as told once, and when an end has been told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tocsin.model import utc
from tocsin.testing.demo.channel import is_resolved, opening, resolved_at
from tocsin.testing.demo.journal import decided_after, errors_after
from tocsin.testing.demo.outcome import Outcome
from tocsin.testing.slack import Message

NOON = utc(1_790_000_000)


def message(text: str, ts: str = "1790000001.000000", thread: str = "") -> Message:
    block = {"type": "section", "text": {"type": "mrkdwn", "text": text}}
    return Message(channel="C0ALERTS", ts=ts, text="push", blocks=[block], thread_ts=thread)


def outcome() -> Outcome:
    return Outcome(
        fault="slow-query",
        injected_at=NOON,
        detected_at=NOON + timedelta(seconds=1),
        notified_at=NOON + timedelta(seconds=1.5),
        mended_at=NOON + timedelta(seconds=2),
        resolved_at=NOON + timedelta(seconds=9),
        messages=1,
        replies=1,
        edits=2,
        text="P1 a query",
    )


def test_the_opening_is_the_first_line_without_marks() -> None:
    """What a reader sees first; a message without blocks has only its text."""
    assert opening(message("🔴 *P0 database: down*\nNobody has acked")) == "🔴 P0 database: down"
    assert opening(Message(channel="C", ts="1.0", text="plain")) == "plain"
    assert opening(Message(channel="C", ts="1.0")) == ""


def test_the_end_is_told_by_message_and_thread() -> None:
    """Both have to say so; the time is that of the reply."""
    parent, over = message("🔴 *P0 down*"), message("✅ *P0 down*")
    note = message("🔴 14:02 · worse", "1790000005.000000", parent.ts)
    reply = message("✅ *Resolved* 14:03", "1790000009.500000", parent.ts)
    assert (is_resolved(parent), is_resolved(over)) == (False, True)
    assert resolved_at(over, (note, reply)) == 1_790_000_009.5
    assert resolved_at(parent, (note, reply)) is None
    assert resolved_at(over, (note,)) is None


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, ""),
        ({"messages": 0, "notified_at": None, "resolved_at": None}, "missed: no message came"),
        ({"messages": 2}, "2 messages instead of 1"),
        ({"resolved_at": None}, "its end was never told"),
    ],
)
def test_ok_means_told_once_with_its_end(change: dict[str, object], verdict: str) -> None:
    """Missed, told twice and never ended are each named."""
    found = replace(outcome(), **change)
    assert (found.verdict, found.ok) == (verdict, verdict == "")


def test_the_document_has_what_the_contract_names() -> None:
    """fault, injected_at, detected_at, notified_at, messages, resolved_at; times in UTC with milliseconds."""
    document = outcome().document()
    assert {name: document[name] for name in ("fault", "injected_at", "notified_at", "messages", "ok")} == {
        "fault": "slow-query",
        "injected_at": "2026-09-21T14:13:20.000Z",
        "notified_at": "2026-09-21T14:13:21.500Z",
        "messages": 1,
        "ok": True,
    }
    assert (document["resolved_at"], document["detected_at"]) == (
        "2026-09-21T14:13:29.000Z",
        "2026-09-21T14:13:21.000Z",
    )
    assert document["seconds_to_message"] == 1.5


def test_the_decision_is_the_first_post_after_the_fault(tmp_path: Path) -> None:
    """Earlier ones, edits, other events and torn lines don't count."""
    log = tmp_path / "tocsin.log"
    lines = [
        '{"event": "incident.decided", "action": "post", "timestamp": "2026-09-21T14:13:19Z"}',
        '{"event": "incident.decided", "action": "edit", "timestamp": "2026-09-21T14:13:21Z"}',
        "incident.decided in no JSON at all",
        '{"event": "incident.decided", "action": "post", "timestamp": "2026-09-21T14:13:22.250Z"}',
        '{"event": "incident.decided", "action": "post", "timest',
    ]
    log.write_text("\n".join(lines))
    assert decided_after(log, NOON) == NOON + timedelta(seconds=2.25)
    assert decided_after(log, NOON + timedelta(seconds=3)) is None


def test_what_went_wrong_in_the_daemon_is_shown_once(tmp_path: Path) -> None:
    """Errors after the fault only, each once, with the last line of its traceback."""
    log = tmp_path / "tocsin.log"
    trace = "Traceback …\\nTypeError: it broke"
    error = (
        f'{{"event": "poll.failed", "level": "error", "exception": "{trace}", "timestamp": "2026-09-21T14:13:2%dZ"}}'
    )
    info = '{"event": "daemon.started", "level": "info", "timestamp": "2026-09-21T14:13:21Z"}'
    log.write_text("\n".join([error % 1, info, error % 2]))
    assert errors_after(log, NOON) == ["poll.failed: TypeError: it broke"]
    assert errors_after(log, NOON + timedelta(seconds=5)) == []
