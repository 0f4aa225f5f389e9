"""What labels, annotations and log lines hold is text: it calls nobody, links nowhere and breaks nothing."""

from __future__ import annotations

import json
import re
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notifiers.slack.budget import Message, cut, fault_of
from notifiers.slack.render import Form, Style, mention_markup, render
from tocsin.model import Action, Labels, Mention, Notification, Reason
from tocsin.testing.notifications import a_notification, a_resolved_incident, alerts, an_alert, an_incident
from tocsin.testing.slack.limits import problem_of

STYLE = Style(zone=ZoneInfo("UTC"), console_url="https://tocsin.example", interactive=True)
LIVE = re.compile(r"<[^>]*>")
"""Everything in angle brackets is live in Slack."""
HOSTILE = "<!channel> <@U0EVERYONE> <https://evil.example|click> & </script> \u202e reversed \x00 \ud800 *bold* `code`"


def texts_of(message: Message) -> list[str]:
    """Every text that Slack would read markup in."""
    shown = [message.text]
    for block in message.blocks:
        if "text" in block:
            shown.append(block["text"]["text"])
        shown += [element["text"] for element in block.get("elements", ()) if isinstance(element.get("text"), str)]
    return shown


def live(message: Message) -> set[str]:
    return {markup for text in texts_of(message) for markup in LIVE.findall(text)}


def with_text(text: str, **changes: object) -> Notification:
    """A notification that holds `text` wherever other people's text can be."""
    labels = {"service": text, "instance": text, "region": text, "alertname": text}
    alert = an_alert(labels=labels, annotations={"summary": text, "description": text})
    other = an_alert(labels={**labels, "instance": text + "2"}, frozen_why=text, frozen_since=alert.active_at)
    incident = an_incident(members=(alert, other), acked_by=text, resolved_why=text, group=Labels(service=text))
    return a_notification(incident, because=text, **changes)


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("action", [Action.POST, Action.THREAD, Action.ESCALATE, Action.DIGEST])
def test_nothing_live_comes_from_a_label(form: Form, threaded: bool, action: Action) -> None:
    """The links are the rule's and ours; there is no mention, since routing named nobody."""
    message = render(with_text(HOSTILE, action=action), STYLE, form, threaded=threaded)
    ours = (
        "<https://runbooks.example/",
        "<https://grafana.example/",
        "<https://tocsin.example/",
        "<https://tocsin.example|",
    )
    assert {markup for markup in live(message) if not markup.startswith(ours)} == set()


def test_a_channel_wide_call_in_a_label_is_shown_as_text() -> None:
    """Exactly as it was written, escaped as Slack wants it."""
    message = render(with_text("<!channel> & co"), STYLE, Form.WHOLE, threaded=False)
    assert "&lt;!channel&gt; &amp; co" in message.blocks[0]["text"]["text"]


def test_quotes_are_not_html() -> None:
    """Slack knows three entities, and would show a fourth as it stands."""
    message = render(with_text('it\'s "down" &#34;'), STYLE, Form.WHOLE, threaded=False)
    assert 'it\'s "down" &amp;#34;' in message.blocks[0]["text"]["text"]


def test_slack_must_not_make_links_of_words() -> None:
    """With `verbatim` it leaves #names, @names and bare addresses as they are."""
    message = render(with_text("@here #general evil.example"), STYLE, Form.WHOLE, threaded=False)
    assert {block["text"]["verbatim"] for block in message.blocks if "text" in block} == {True}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("javascript:alert(1)", None),
        ("https://", None),
        ("not a link", None),
        ("https://x.example/" + "a" * 4000, None),
        ("https://x.example/a|b>c<d", "<https://x.example/a%7Cb%3Ec%3Cd|Runbook>"),
        ("https://x.example/a b", "<https://x.example/a%20b|Runbook>"),
        ("https://x.example/\n<!channel>", None),
        ("https://bücher.example/ä", "<https://bücher.example/ä|Runbook>"),
        ("https://[::1", None),
    ],
)
def test_a_link_is_a_whole_http_address_or_left_out(url: str, expected: str | None) -> None:
    """Nothing in it can end the link or begin another."""
    alert = an_alert(annotations={"runbook_url": url, "dashboard_url": ""})
    message = render(a_notification(an_incident(members=(alert,))), STYLE, Form.WHOLE, threaded=False)
    assert {markup for markup in live(message) if "tocsin.example" not in markup} == ({expected} if expected else set())


@pytest.mark.parametrize(
    ("mention", "expected"),
    [
        (Mention(kind="user", id="U0ANA"), "<@U0ANA>"),
        (Mention(kind="group", id="S0ONCALL"), "<!subteam^S0ONCALL>"),
        (Mention(kind="user", id="S0ONCALL"), "<!subteam^S0ONCALL>"),
        (Mention(kind="here"), "<!here>"),
        (Mention(kind="channel"), "<!channel>"),
        (Mention(kind="user", id="ana"), "<@U0ANA>"),
        (Mention(kind="user", id="nobody we know"), "@nobody we know"),
        (Mention(kind="user", id="here"), "@here"),
        (Mention(kind="user", id="U0ANA> <!channel"), "@U0ANA&gt; &lt;!channel"),
    ],
)
def test_a_mention_is_what_routing_made(mention: Mention, expected: str) -> None:
    """An ID, a name that the settings know, or a word that wakes nobody."""
    assert str(mention_markup(mention, {"ana": "U0ANA"})) == expected


# Limits --------------------------------------------------------------------------------------------------------------


def problem(message: Message, *, edit: bool) -> object:
    """What the stand-in Slack, which has its own checks, would answer."""
    blocks = json.loads(json.dumps(list(message.blocks)))
    return problem_of({"text": message.text, "blocks": blocks or None}, edit=edit)


ACTIONS = [Action.POST, Action.THREAD, Action.ESCALATE, Action.DIGEST]
ANY_TEXT = st.text(max_size=200) | st.sampled_from(["&", "<", "*", "\n", "x", "\u200b", "💥", "²"]).flatmap(
    lambda sign: st.integers(1, 9000).map(lambda count: sign * count)
)


@settings(max_examples=60, deadline=None)
@given(ANY_TEXT, st.sampled_from(list(Form)), st.booleans(), st.sampled_from(ACTIONS))
def test_any_text_gives_a_message_that_slack_takes(text: str, form: Form, threaded: bool, action: Action) -> None:
    """Whatever labels and annotations hold; judged by the stand-in, not by our own budget."""
    message = render(with_text(text, action=action), STYLE, form, threaded=threaded)
    assert problem(message, edit=True) is None


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(max_size=30), st.text(max_size=300), max_size=12), st.integers(1, 60))
def test_any_labels_give_a_message_that_slack_takes(labels: dict[str, str], count: int) -> None:
    """Many members with any label names."""
    members = tuple(an_alert(labels={**labels, "n": str(number)}) for number in range(count))
    message = render(a_notification(an_incident(members=members)), STYLE, Form.WHOLE, threaded=False)
    assert problem(message, edit=True) is None


@settings(max_examples=25, deadline=None)
@given(ANY_TEXT, st.integers(1, 40))
def test_any_storm_gives_a_message_that_slack_takes(text: str, count: int) -> None:
    """Several incidents of hostile names."""
    incidents = [with_text(text).incident for _ in range(count)]
    message = render(a_notification(*incidents, reason=Reason.OVER_BUDGET), STYLE, Form.WHOLE, threaded=False)
    assert problem(message, edit=True) is None


@pytest.mark.parametrize("form", list(Form))
def test_ten_thousand_members_give_a_message_that_slack_takes(form: Form) -> None:
    """Counted, not listed."""
    members = alerts(10_000, annotations={"description": "x" * 10_000})
    message = render(a_notification(an_incident(members=members)), STYLE, form, threaded=False)
    assert problem(message, edit=True) is None


def test_ten_thousand_incidents_give_a_message_that_slack_takes() -> None:
    """A storm is one message."""
    storm = a_notification(*[a_resolved_incident(id=f"i-{n}") for n in range(10_000)], reason=Reason.OVER_BUDGET)
    assert problem(render(storm, STYLE, Form.WHOLE, threaded=False), edit=False) is None


@given(st.text(alphabet="a<>&;\n ", max_size=80), st.integers(2, 60))
def test_a_cut_breaks_no_entity_and_no_link(text: str, limit: int) -> None:
    """What is left is within the limit and as well-formed as before."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    kept = cut(escaped, limit)
    assert (len(kept) <= limit, re.findall(r"&(?!amp;|lt;|gt;)", kept)) == (True, [])


def test_a_cut_gives_up_a_link_that_it_would_break() -> None:
    """Half a link would be shown as it stands, or swallow what follows."""
    assert cut("see <https://x.example/long|here> now", 20) == "see…"


# Our own checks, of what templates of the operator's may produce -----------------------------------------------------


def section(text: str = "x", **more: object) -> dict[str, object]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}, **more}


def field(text: str) -> dict[str, str]:
    return {"type": "mrkdwn", "text": text}


def button(**changes: object) -> dict[str, object]:
    return {"type": "button", "action_id": "a", "text": {"type": "plain_text", "text": "x"}, **changes}


def actions(*elements: dict[str, object]) -> dict[str, object]:
    return {"type": "actions", "elements": list(elements)}


OPTION = {"text": {"type": "plain_text", "text": "x" * 76}, "value": "v"}
BAD = {
    "51 blocks, 50 at most": [section()] * 51,
    "a section of 3001 characters, 3000 at most": [section("x" * 3001)],
    "an empty section": [section(" ")],
    "11 fields, 10 at most": [section(fields=[field("x")] * 11)],
    "a field of 2001 characters, 2000 at most": [section(fields=[field("x" * 2001)])],
    "a header of 151 characters, 150 at most": [{"type": "header", "text": field("x" * 151)}],
    "the same block_id twice": [section(block_id="b"), section(block_id="b")],
    "the same action_id twice": [actions(button(), button())],
    "26 elements, 25 at most": [actions(*(button(action_id=str(number)) for number in range(26)))],
    "a button of 76 characters, 75 at most": [actions(button(text={"type": "plain_text", "text": "x" * 76}))],
    "a button value of 2001 characters, 2000 at most": [actions(button(value="x" * 2001))],
    "a button URL of 3001 characters, 3000 at most": [actions(button(url="x" * 3001))],
    "a option of 76 characters, 75 at most": [actions({"type": "overflow", "action_id": "o", "options": [OPTION]})],
    "11 context elements, 10 at most": [{"type": "context", "elements": [field("x")] * 11}],
}


@pytest.mark.parametrize("expected", list(BAD))
def test_each_limit_is_checked_before_sending(expected: str) -> None:
    """Those that slack_sdk checks and those that it misses."""
    assert fault_of(Message(text="x", blocks=tuple(BAD[expected]))) == expected


@pytest.mark.parametrize("name", list(BAD))
def test_the_stand_in_refuses_the_same(name: str) -> None:
    """Two checks that were written apart agree on what is too much."""
    assert problem_of({"text": "x", "blocks": json.loads(json.dumps(BAD[name]))}, edit=False) is not None


def test_the_total_is_checked_before_sending() -> None:
    """Slack's msg_blocks_too_long is not documented: 8,000 is the budget."""
    assert "characters in all blocks" in fault_of(Message(text="x", blocks=(section("x" * 2900),) * 3))
