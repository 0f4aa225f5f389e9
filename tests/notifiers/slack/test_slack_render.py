"""How a message reads, state by state. What is asserted is the text that people see."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from notifiers.slack.budget import Message
from notifiers.slack.render import LISTED, Form, Style, render
from tocsin.model import Action, Incident, Labels, Mention, Notification, Reason, Severity, Timeline
from tocsin.testing.clock import START
from tocsin.testing.notifications import (
    NOW,
    a_notification,
    a_resolved_incident,
    alerts,
    an_acked_incident,
    an_alert,
    an_incident,
)

STYLE = Style(zone=ZoneInfo("UTC"))
INTERACTIVE = replace(STYLE, interactive=True)


def whole(notification: Notification, style: Style = STYLE, *, threaded: bool = False) -> Message:
    return render(notification, style, Form.WHOLE, threaded=threaded)


def lines(notification: Notification, style: Style = STYLE, *, threaded: bool = False) -> list[str]:
    """Every line of every block but the buttons."""
    shown: list[str] = []
    for block in whole(notification, style, threaded=threaded).blocks:
        texts = [block["text"]] if "text" in block else block["elements"] if block["type"] == "context" else []
        shown += [line for text in texts for line in text["text"].split("\n")]
    return shown


def buttons(incident: Incident) -> list[str]:
    for block in whole(a_notification(incident), INTERACTIVE).blocks:
        if block["type"] == "actions":
            return [item["text"]["text"] for item in block["elements"] if item["type"] == "button"]
    return []


def test_a_firing_incident() -> None:
    """What, since when, where, what to read: all on one screen of a phone."""
    assert lines(a_notification()) == [
        "🔴 *P0 checkout-api: 12.4 % of requests fail (limit 0.1 %)*",
        "Nobody has acked",
        "*Since* 14:02 UTC (3 min) · region=eu-west-1",
        "Requests to checkout answer 5xx.",
        "<https://runbooks.example/HighErrorRate|Runbook> · "
        "<https://grafana.example/d/api?from=now-1h&amp;to=now|Dashboard>",
        "i-3f9a2c · a new incident",
    ]


def test_an_acked_incident_says_who_and_when() -> None:
    """The reader sees at once that somebody is on it."""
    assert lines(a_notification(an_acked_incident(), action=Action.EDIT))[:3] == [
        "🟡 *P0 checkout-api: 12.4 % of requests fail (limit 0.1 %)*",
        "Ana acked 14:04 UTC, after 2 min",
        "*Since* 14:02 UTC (still firing, 3 min) · region=eu-west-1",
    ]


def test_a_resolved_incident_says_how_long_and_why() -> None:
    """And no longer what to do."""
    assert lines(a_notification(a_resolved_incident(), action=Action.EDIT))[:2] == [
        "✅ *P0 checkout-api: 12.4 % of requests fail (limit 0.1 %)*",
        "Resolved 14:02 UTC – 14:05 UTC (3 min) · all alerts have ended",
    ]


def test_an_unknown_incident_is_neither_firing_nor_over() -> None:
    """Since when nothing is seen, why, and what was seen last."""
    frozen = an_alert(frozen_since=START + timedelta(minutes=1), frozen_why="postgres app-db: no answer in 10 s")
    assert lines(a_notification(an_incident(members=(frozen,)), action=Action.EDIT))[:2] == [
        "⚪ *P0 checkout-api: 12.4 % of requests fail (limit 0.1 %)*",
        "*Unknown* since 14:03 UTC: postgres app-db: no answer in 10 s · last seen firing",
    ]


def test_a_partly_unknown_incident_says_how_much_is() -> None:
    """The rest is still known to fire."""
    frozen = an_alert(frozen_since=START, frozen_why="no answer", labels={"instance": "web-9"})
    assert "*Unknown* for 1 of 3 since 14:02 UTC: no answer" in lines(
        a_notification(an_incident(members=(*alerts(2), frozen)))
    )


def test_many_members_are_counted_and_the_first_are_named() -> None:
    """By what tells them apart, web-2 before web-10."""
    shown = lines(a_notification(an_incident(members=tuple(reversed(alerts(41))), peak=52)))
    assert shown[0] == "🔴 *P0 checkout-api: 12.4 % of requests fail (limit 0.1 %) (+40 more)*"
    assert shown[2] == "*Since* 14:02 UTC (3 min) · region=eu-west-1 · 41 alerts firing, peak 52"
    assert shown[4:9] == [
        "• instance=web-0",
        "• instance=web-1",
        "• instance=web-2",
        "• instance=web-3",
        "… 37 more",
    ]


@pytest.mark.parametrize("count", [1, 41, 10_000])
def test_a_message_has_at_most_twelve_lines(count: int) -> None:
    """A phone's screen."""
    notification = a_notification(an_incident(members=alerts(count)), mentions=(Mention(kind="here"),))
    assert len(lines(notification)) <= 12


def test_the_times_on_the_way_are_stamped() -> None:
    """Fault, poll and decision: where the seconds went."""
    timeline = Timeline(
        fault_at=START, sampled_at=START + timedelta(seconds=0.9), decided_at=START + timedelta(seconds=1)
    )
    expected = "i-3f9a2c · a new incident · fault 14:02:00.0 → poll 14:02:00.9 → decision 14:02:01.0 UTC"
    assert lines(a_notification(timeline=timeline))[-1] == expected


def test_times_are_written_in_the_zone_of_the_settings() -> None:
    """With the zone's name beside them."""
    berlin = replace(STYLE, zone=ZoneInfo("Europe/Berlin"))
    assert lines(a_notification(), berlin)[2] == "*Since* 15:02 CET (3 min) · region=eu-west-1"


def test_another_days_time_has_its_date() -> None:
    """14:02 of which day?"""
    old = an_incident(opened_at=START - timedelta(days=2))
    assert "*Since* 3 Jan 14:02 UTC (2 d) · region=eu-west-1" in lines(a_notification(old))


def test_a_reopened_incident_says_how_often() -> None:
    """It flaps."""
    assert "*Since* 14:02 UTC (3 min) · region=eu-west-1 · reopened 2×" in lines(
        a_notification(an_incident(reopened=2))
    )


def test_a_service_that_the_summary_names_is_not_said_twice() -> None:
    """A phone shows forty characters."""
    alert = an_alert(annotations={"summary": "checkout-api is down"})
    assert lines(a_notification(an_incident(members=(alert,))))[0] == "🔴 *P0 checkout-api is down*"


def test_an_alert_without_a_summary_is_told_by_its_name() -> None:
    """Rules of other people may have none."""
    alert = an_alert(annotations={"summary": ""})
    assert lines(a_notification(an_incident(members=(alert,))))[0] == "🔴 *P0 checkout-api: HighErrorRate*"


def test_an_incident_without_members_is_still_told() -> None:
    """Its rule may have been deleted."""
    assert whole(a_notification(an_incident(members=(), group=Labels()))).text.startswith("P0 ")


# The line for phones -------------------------------------------------------------------------------------------------


def test_the_phone_line_begins_with_severity_service_and_symptom() -> None:
    """Within the forty characters that a lock screen shows."""
    assert whole(a_notification()).text == (
        "P0 checkout-api: 12.4 % of requests fail (limit 0.1 %), 3 min. Nobody has acked."
    )


@pytest.mark.parametrize(
    ("incident", "expected"),
    [
        (an_acked_incident(), "P0 checkout-api: 12.4 % of requests fail (limit 0.1 %), 3 min. Ana acked."),
        (
            a_resolved_incident(),
            "P0 RESOLVED checkout-api: 12.4 % of requests fail (limit 0.1 %), 3 min: all alerts have ended.",
        ),
        (
            an_incident(members=(an_alert(frozen_since=START, frozen_why="x"),)),
            "P0 UNKNOWN checkout-api: 12.4 % of requests fail (limit 0.1 %) since 14:02 UTC.",
        ),
        (an_incident(severity=Severity.P2), "P2 checkout-api: 12.4 % of requests fail (limit 0.1 %), 3 min."),
    ],
)
def test_the_phone_line_says_how_it_stands(incident: Incident, expected: str) -> None:
    """In its last words."""
    assert whole(a_notification(incident)).text == expected


def test_a_long_summary_is_cut_and_the_standing_is_not() -> None:
    """Below a hundred characters."""
    alert = an_alert(annotations={"summary": "requests fail because of " + "very " * 60 + "bad luck"})
    text = whole(a_notification(an_incident(members=(alert,)))).text
    assert (len(text) < 100, text.endswith("…, 3 min. Nobody has acked.")) == (True, True)


# Replies -------------------------------------------------------------------------------------------------------------


def test_the_end_is_told_in_the_thread() -> None:
    """When, after how long, and why."""
    notification = a_notification(a_resolved_incident(), action=Action.RESOLVE, because="told to the end")
    assert lines(notification, threaded=True) == [
        "✅ *Resolved* 14:05 UTC after 3 min: all alerts have ended",
        "told to the end",
    ]


def test_a_change_is_one_line_of_the_thread() -> None:
    """When and what; the parent shows the whole."""
    notification = a_notification(an_incident(members=alerts(3)), action=Action.THREAD, because="2 more: web-1, web-2")
    assert lines(notification, threaded=True) == ["🔴 14:05 UTC · 2 more: web-1, web-2 · 3 firing"]


def test_an_escalation_says_who_is_needed_and_for_what() -> None:
    """It is shown in the channel, so it must make sense by itself."""
    notification = a_notification(
        action=Action.ESCALATE, because="nobody has acked for 5 min", mentions=(Mention(kind="user", id="U0BACKUP"),)
    )
    assert lines(notification, threaded=True)[:3] == [
        "🔴 *P0 checkout-api: 12.4 % of requests fail (limit 0.1 %)*",
        "<@U0BACKUP> · nobody has acked for 5 min",
        "*Since* 14:02 UTC (3 min) · nobody has acked",
    ]


# Several incidents ---------------------------------------------------------------------------------------------------


def several(count: int, **changes: object) -> list[Incident]:
    return [an_incident(id=f"i-{number}", members=alerts(5), **changes) for number in range(count)]


def test_a_storm_states_its_own_counts() -> None:
    """How many, since when, what they share, what was sent and folded."""
    storm = a_notification(*several(14), reason=Reason.OVER_BUDGET, because="3 posts sent, 67 folded, 0 dropped")
    assert lines(storm)[:3] == [
        "🚨 *70 alerts in 3 min → 14 incidents*",
        "3 posts sent, 67 folded, 0 dropped",
        "*Since* 14:02 UTC · all share region=eu-west-1, service=checkout-api",
    ]


def test_a_storm_names_the_first_and_counts_the_rest() -> None:
    """The console has them all."""
    storm = a_notification(*several(14), reason=Reason.OVER_BUDGET)
    assert lines(storm, replace(STYLE, console_url="https://tocsin.example"))[-2:] == [
        "… 9 more",
        "<https://tocsin.example|All of them in the console>",
    ]


def test_a_digest_has_a_line_for_each_worst_first() -> None:
    """What is over says so."""
    over = replace(a_resolved_incident(severity=Severity.P3), id="i-over")
    digest = a_notification(over, an_incident(severity=Severity.P2), action=Action.DIGEST, because="daily digest")
    assert lines(digest) == [
        "🗞 *2 incidents* · daily digest",
        "🔵 P2 checkout-api: 12.4 % of requests fail (limit 0.1 %) · since 14:02 UTC",
        "✅ P3 checkout-api: 12.4 % of requests fail (limit 0.1 %) · 14:02 UTC, 3 min",
    ]


def test_what_a_silence_hid_says_so_and_names_it() -> None:
    """On a phone's lock screen too; of one incident it is not the incident's own message."""
    over = replace(a_resolved_incident(severity=Severity.P1), id="i-over")
    told = a_notification(
        over, action=Action.DIGEST, reason=Reason.SILENCE_ENDED,
        because="silence s-1 of ana (deploy) has ended. It hid 1 alert in 1 incident; none fires any more",
    )  # fmt: skip
    assert lines(told) == [
        "🔔 *A silence has ended* · silence s-1 of ana (deploy) has ended. It hid 1 alert in 1 incident; none fires "
        "any more",
        "✅ P1 checkout-api: 12.4 % of requests fail (limit 0.1 %) · 14:02 UTC, 3 min",
    ]
    push = "A silence ended. It hid 1 incident, 0 alerts still firing: checkout-api"
    assert (whole(told).text, render(told, STYLE, Form.TEXT, threaded=False).text.split("\n")[0]) == (push, push)


def test_a_digest_of_thousands_is_one_short_message() -> None:
    """The rest is a number."""
    shown = lines(a_notification(*several(2000, severity=Severity.P2), action=Action.DIGEST))
    assert (len(shown), shown[-1]) == (LISTED + 2, f"… {2000 - LISTED:,} more")


# Buttons -------------------------------------------------------------------------------------------------------------


def test_there_are_no_buttons_where_a_click_goes_nowhere() -> None:
    """Unless the settings say that the app has an interactivity address."""
    assert [block["type"] for block in whole(a_notification()).blocks if block["type"] == "actions"] == []


@pytest.mark.parametrize(
    ("incident", "expected"),
    [
        (an_incident(), ["Ack", "Silence…", "Escalate"]),
        (an_acked_incident(), ["Resolve", "Silence…", "Hand over…"]),
        (a_resolved_incident(), ["Worth the page", "Noise"]),
        (a_resolved_incident(severity=Severity.P2), []),
    ],
)
def test_the_buttons_fit_the_state(incident: Incident, expected: list[str]) -> None:
    """What can be done now, and nothing else."""
    assert buttons(incident) == expected


# Forms ---------------------------------------------------------------------------------------------------------------


def test_the_short_form_is_the_headline_alone() -> None:
    """One block is the least that has a look."""
    assert len(render(a_notification(), STYLE, Form.SHORT, threaded=False).blocks) == 1


def test_the_text_form_says_it_all_without_blocks() -> None:
    """Mentions, the phone line, why, and the links in clear."""
    notification = a_notification(mentions=(Mention(kind="here"),))
    assert render(notification, STYLE, Form.TEXT, threaded=False) == Message(
        text="<!here> P0 checkout-api: 12.4 % of requests fail (limit 0.1 %), 3 min. Nobody has acked.\n"
        "a new incident\n"
        "Runbook: https://runbooks.example/HighErrorRate\n"
        "Dashboard: https://grafana.example/d/api?from=now-1h&amp;to=now"
    )


def test_the_same_notification_gives_the_same_message() -> None:
    """Rendering reads no clock."""
    assert whole(a_notification(created_at=NOW)) == whole(a_notification(created_at=NOW))
