"""The stand-in's channel as a page: what a message shows, escaped, and live."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.testing.slack import FakeSlack
from tocsin.testing.slack.mrkdwn import to_html
from tocsin.testing.slack.page import SHOWN

OURS = re.compile(
    r"</?(?:b|i|s|code|pre|blockquote|br)>|</(?:span|a)>|<span class=\"mention\">"
    r"|<a href=\"[^\"<>]*\" rel=\"noreferrer noopener\" target=\"_blank\">"
)
POST: dict[str, Any] = {"channel": "C0ALERTS", "text": "hello"}


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as slack:
        yield slack


@pytest.fixture
async def http(slack: FakeSlack) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(slack.address) as http:
        yield http


async def text(http: aiohttp.ClientSession, path: str = "/") -> str:
    async with http.get(path) as answer:
        assert answer.status == 200
        return await answer.text()


@pytest.mark.parametrize(
    ("mrkdwn", "html"),
    [
        ("*bold* _italic_ ~gone~", "<b>bold</b> <i>italic</i> <s>gone</s>"),
        ("2 * 3 * 4 and snake_case_name", "2 * 3 * 4 and snake_case_name"),
        ("`a *b* &lt;c&gt;`", "<code>a *b* &lt;c&gt;</code>"),
        ("```x\ny```", "<pre>x\ny</pre>"),
        ("a\nb", "a<br>b"),
        ("&gt; said", "<blockquote>said</blockquote>"),
        (
            "<https://x.example/?a=1&amp;b=2|here>",
            '<a href="https://x.example/?a=1&amp;b=2" rel="noreferrer noopener" target="_blank">here</a>',
        ),
        ("<@U0ANA>", '<span class="mention">@U0ANA</span>'),
        ("<!subteam^S0ONCALL>", '<span class="mention">@S0ONCALL</span>'),
        ("<!here>", '<span class="mention">@here</span>'),
        (":red_circle: :no_such:", "🔴 :no_such:"),
        ("&lt;script&gt;alert(1)&lt;/script&gt;", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("<javascript:alert(1)|x>", "&lt;javascript:alert(1)|x&gt;"),
        ('<https://x.example/" onmouseover="x|y>', None),
    ],
)
def test_mrkdwn_is_shown_as_slack_shows_it(mrkdwn: str, html: str | None) -> None:
    """And nothing of it becomes HTML of its own."""
    shown = str(to_html(mrkdwn))
    assert shown == html if html is not None else 'onmouseover="' not in shown


@given(st.text(alphabet="<>&\"'`*_~|:!@#/ab\n\ufffc", max_size=60))
def test_no_text_makes_html_of_its_own(mrkdwn: str) -> None:
    """Only the tags that are known here appear, with the attributes that are written here."""
    assert re.findall(r"[<>]", OURS.sub("", str(to_html(mrkdwn)))) == []


async def test_an_empty_channel_says_so(http: aiohttp.ClientSession) -> None:
    """A blank page would look broken."""
    assert "Quiet in #alerts" in await text(http)


async def test_a_message_is_shown_with_its_blocks(http: aiohttp.ClientSession, slack: FakeSlack) -> None:
    """Each kind that a message may have."""
    blocks = [
        {"type": "header", "text": {"type": "plain_text", "text": "A *header* <b>"}},
        {"type": "section", "text": {"type": "mrkdwn", "text": "*bold*"}, "fields": [{"type": "mrkdwn", "text": "f1"}]},
        {"type": "actions", "elements": [{"type": "button", "text": {"type": "plain_text", "text": "Ack"}}]},
        {"type": "context", "elements": [{"type": "mrkdwn", "text": "small"}]},
        {"type": "divider"},
    ]
    slack.methods.call("chat.postMessage", {**POST, "blocks": blocks})
    shown = await text(http)
    wanted = ["<h4>A *header* &lt;b&gt;</h4>", "<b>bold</b>", "<div>f1</div>", ">Ack</span>", "small", "<hr>"]
    assert [each for each in wanted if each not in shown] == []


async def test_an_edit_changes_the_message_in_place(http: aiohttp.ClientSession, slack: FakeSlack) -> None:
    """One article, with the new text."""
    ts = slack.methods.call("chat.postMessage", POST)["ts"]
    slack.methods.call("chat.update", {"channel": "C0ALERTS", "ts": ts, "text": "changed"})
    shown = await text(http)
    assert (shown.count("<article"), "changed" in shown, "hello" in shown) == (1, True, False)


async def test_a_thread_is_shown_under_its_parent(http: aiohttp.ClientSession, slack: FakeSlack) -> None:
    """With the number of replies."""
    ts = slack.methods.call("chat.postMessage", POST)["ts"]
    slack.methods.call("chat.postMessage", {**POST, "text": "a reply", "thread_ts": ts})
    shown = await text(http)
    assert ("1 reply" in shown, "a reply" in shown) == (True, True)


async def test_a_long_channel_shows_its_end(http: aiohttp.ClientSession, slack: FakeSlack) -> None:
    """And says how much is above."""
    for number in range(SHOWN + 7):
        slack.methods.call("chat.postMessage", {**POST, "text": f"number {number}."})
    shown = await text(http)
    assert (shown.count("<article"), "7 earlier messages are not shown" in shown, "number 106." in shown) == (
        SHOWN,
        True,
        True,
    )


async def test_a_permalink_leads_to_its_message(http: aiohttp.ClientSession, slack: FakeSlack) -> None:
    """As in Slack."""
    ts = slack.methods.call("chat.postMessage", POST)["ts"]
    link = slack.methods.call("chat.getPermalink", {"channel": "C0ALERTS", "message_ts": ts})["permalink"]
    async with http.get(link, allow_redirects=False) as answer:
        assert answer.headers["Location"] == f"/c/C0ALERTS#p{ts.replace('.', '')}"


async def test_an_open_page_is_told_of_each_change(http: aiohttp.ClientSession, slack: FakeSlack) -> None:
    """By an event whose number rises."""
    async with http.get("/events") as events:
        first = await events.content.readuntil(b"\n\n")
        slack.methods.call("chat.postMessage", POST)
        second = await events.content.readuntil(b"\n\n")
    assert int(second.split()[1]) > int(first.split()[1])


async def test_the_page_loads_nothing_from_elsewhere(http: aiohttp.ClientSession) -> None:
    """Its policy allows its own files only, and no script within the page."""
    async with http.get("/") as answer:
        policy, shown = answer.headers["Content-Security-Policy"], await answer.text()
    assert ("default-src 'none'" in policy, "unsafe" in policy) == (True, False)
    assert [link for link in re.findall(r'(?:src|href)="([^"]+)"', shown) if not link.startswith("/")] == []


@pytest.mark.parametrize("path", ["/c/C0NOWHERE", "/static/../page.py", "/static/page.py", "/archives/C0NOWHERE/p1"])
async def test_what_is_not_there_is_not_found(http: aiohttp.ClientSession, path: str) -> None:
    """And no file of ours is served but the page's."""
    async with http.get(path) as answer:
        assert answer.status == 404
