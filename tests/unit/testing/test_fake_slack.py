"""The stand-in Slack refuses what Slack refuses, and goes wrong as it is told to."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from tocsin.testing.slack import Channel, FakeSlack, Kind

POST: dict[str, Any] = {"channel": "C0ALERTS", "text": "hello"}


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as slack:
        yield slack


@pytest.fixture
def client(slack: FakeSlack) -> AsyncWebClient:
    """slack_sdk itself, so that the stand-in is judged by the library that talks to the real one."""
    return AsyncWebClient(token=slack.token, base_url=slack.base_url, retry_handlers=[], timeout=5)


async def error_of(call: Any) -> str:
    with pytest.raises(SlackApiError) as caught:
        await call
    return str(caught.value.response["error"])


# Messages ------------------------------------------------------------------------------------------------------------


async def test_each_message_has_a_ts_of_its_own(client: AsyncWebClient) -> None:
    """Rising, as Slack's are."""
    stamps = [(await client.chat_postMessage(**POST))["ts"] for _ in range(5)]
    assert stamps == sorted(set(stamps))


async def test_text_without_blocks_removes_them(client: AsyncWebClient, slack: FakeSlack) -> None:
    """And the message is marked as edited, which one with blocks is not."""
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "x"}}]
    ts = (await client.chat_postMessage(**POST, blocks=blocks))["ts"]
    await client.chat_update(channel="C0ALERTS", ts=ts, text="with", blocks=blocks)
    with_blocks = slack.messages()[0].edited
    await client.chat_update(channel="C0ALERTS", ts=ts, text="without")
    assert (with_blocks, slack.messages()[0].edited, slack.messages()[0].blocks) == (False, True, [])


async def test_an_edit_keeps_metadata_that_it_does_not_give(client: AsyncWebClient, slack: FakeSlack) -> None:
    """As Slack does."""
    metadata = {"event_type": "x", "event_payload": {"key": "k"}}
    ts = (await client.chat_postMessage(**POST, metadata=metadata))["ts"]
    await client.chat_update(channel="C0ALERTS", ts=ts, text="new")
    assert slack.messages()[0].key == "k"


async def test_an_edit_needs_the_channels_id(client: AsyncWebClient) -> None:
    """A post takes a name, which is how one finds out too late."""
    ts = (await client.chat_postMessage(channel="#alerts", text="x"))["ts"]
    assert await error_of(client.chat_update(channel="#alerts", ts=ts, text="y")) == "channel_not_found"


async def test_an_edit_of_nothing_is_refused(client: AsyncWebClient) -> None:
    """message_not_found."""
    assert await error_of(client.chat_update(channel="C0ALERTS", ts="1.000001", text="x")) == "message_not_found"


async def test_an_edit_after_the_window_is_refused() -> None:
    """A workspace may allow edits for a while only."""
    async with FakeSlack(edit_window=-1) as slack:
        client = AsyncWebClient(token=slack.token, base_url=slack.base_url, retry_handlers=[])
        ts = (await client.chat_postMessage(**POST))["ts"]
        assert await error_of(client.chat_update(channel="C0ALERTS", ts=ts, text="x")) == "edit_window_closed"


async def test_a_reaction_is_added_once(client: AsyncWebClient, slack: FakeSlack) -> None:
    """And can be taken back."""
    ts = (await client.chat_postMessage(**POST))["ts"]
    reaction = {"channel": "C0ALERTS", "timestamp": ts, "name": "eyes"}
    await client.reactions_add(**reaction)
    assert (await error_of(client.reactions_add(**reaction)), slack.messages()[0].reactions) == (
        "already_reacted",
        ["eyes"],
    )
    await client.reactions_remove(**reaction)
    assert slack.messages()[0].reactions == []


async def test_replies_are_not_in_the_channel_unless_broadcast(client: AsyncWebClient, slack: FakeSlack) -> None:
    """A broadcast reply is in both."""
    ts = (await client.chat_postMessage(**POST))["ts"]
    await client.chat_postMessage(**POST, thread_ts=ts)
    await client.chat_postMessage(**POST, thread_ts=ts, reply_broadcast=True)
    assert (len(slack.messages()), len(slack.thread(slack.messages()[0]))) == (2, 2)


async def test_a_reply_to_a_deleted_parent_lands_in_the_channel(client: AsyncWebClient) -> None:
    """Without an error; only the answer lacks thread_ts (slack-go#1571)."""
    ts = (await client.chat_postMessage(**POST))["ts"]
    await client.chat_delete(channel="C0ALERTS", ts=ts)
    answer = await client.chat_postMessage(**POST, thread_ts=ts)
    assert "thread_ts" not in answer["message"]


async def test_a_reply_to_a_reply_is_refused(client: AsyncWebClient) -> None:
    """Slack warns of it; a test must notice it."""
    ts = (await client.chat_postMessage(**POST))["ts"]
    reply = (await client.chat_postMessage(**POST, thread_ts=ts))["ts"]
    assert await error_of(client.chat_postMessage(**POST, thread_ts=reply)) == "thread_not_found"


async def test_metadata_is_read_back_only_when_asked_for(client: AsyncWebClient) -> None:
    """include_all_metadata."""
    await client.chat_postMessage(**POST, metadata={"event_type": "x", "event_payload": {}})
    plain = await client.conversations_history(channel="C0ALERTS")
    full = await client.conversations_history(channel="C0ALERTS", include_all_metadata=True)
    assert ["metadata" in answer["messages"][0] for answer in (plain, full)] == [False, True]


async def test_history_comes_in_pages_newest_first(client: AsyncWebClient) -> None:
    """slack_sdk follows the cursor."""
    for number in range(5):
        await client.chat_postMessage(channel="C0ALERTS", text=str(number))
    pages = [
        [message["text"] for message in page["messages"]]
        async for page in await client.conversations_history(channel="C0ALERTS", limit=2)
    ]
    assert pages == [["4", "3"], ["2", "1"], ["0"]]


async def test_history_bounds_are_exclusive_unless_told(client: AsyncWebClient) -> None:
    """One message is read by oldest = latest = its ts, inclusive."""
    ts = (await client.chat_postMessage(**POST))["ts"]
    bounds = {"channel": "C0ALERTS", "oldest": ts, "latest": ts}
    found = [len((await client.conversations_history(**bounds, inclusive=each))["messages"]) for each in (False, True)]
    assert found == [0, 1]


async def test_a_file_is_uploaded_in_three_steps(client: AsyncWebClient, slack: FakeSlack) -> None:
    """slack_sdk's files_upload_v2 works against it."""
    await client.files_upload_v2(channel="C0ALERTS", content="a,b", filename="chart.csv")
    assert slack.messages()[0].files == ["chart.csv"]


# Refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("token", "expected"), [("xoxb-wrong", "invalid_auth"), ("", "not_authed")])
async def test_a_wrong_token_is_refused(slack: FakeSlack, token: str, expected: str) -> None:
    """Each in Slack's words."""
    client = AsyncWebClient(token=token, base_url=slack.base_url, retry_handlers=[])
    assert await error_of(client.auth_test()) == expected


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        (Channel(id="C0ALERTS", name="a", member=False), "not_in_channel"),
        (Channel(id="C0ALERTS", name="a", archived=True), "is_archived"),
        (Channel(id="C0ALERTS", name="a", member=False, private=True), "channel_not_found"),
    ],
)
async def test_a_channel_that_is_closed_to_the_bot_refuses(channel: Channel, expected: str) -> None:
    """A private channel that it is not in does not even exist for it."""
    async with FakeSlack(channels=(channel,)) as slack:
        client = AsyncWebClient(token=slack.token, base_url=slack.base_url, retry_handlers=[])
        assert await error_of(client.chat_postMessage(**POST)) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"text": ""}, "no_text"),
        ({"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}]}, "invalid_blocks"),
        ({"blocks": [{"type": "divider"}] * 51}, "invalid_blocks"),
        ({"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3000}}] * 5}, "msg_blocks_too_long"),
        ({"blocks": [{"type": "fancy"}]}, "invalid_blocks"),
        ({"blocks": ["x"]}, "invalid_blocks_format"),
        ({"attachments": [{"text": "x"}] * 101}, "too_many_attachments"),
        ({"metadata": {"event_type": "x"}}, "invalid_metadata_format"),
        ({"metadata": {"event_type": "x", "event_payload": {"k": "x" * 9000}}}, "metadata_too_large"),
    ],
)
async def test_what_is_too_much_or_malformed_is_refused(
    client: AsyncWebClient, slack: FakeSlack, changes: dict[str, Any], expected: str
) -> None:
    """And nothing is stored."""
    assert (await error_of(client.api_call("chat.postMessage", json={**POST, **changes})), slack.messages()) == (
        expected,
        (),
    )


async def test_an_edit_takes_a_shorter_text_than_a_post(client: AsyncWebClient) -> None:
    """4,000 characters against 40,000."""
    ts = (await client.chat_postMessage(channel="C0ALERTS", text="x" * 4001))["ts"]
    assert await error_of(client.chat_update(channel="C0ALERTS", ts=ts, text="x" * 4001)) == "msg_too_long"


async def test_more_than_the_rate_is_throttled() -> None:
    """The second message at once is told to wait."""
    async with FakeSlack(channel_rate=0.01) as slack:
        client = AsyncWebClient(token=slack.token, base_url=slack.base_url, retry_handlers=[])
        await client.chat_postMessage(**POST)
        with pytest.raises(SlackApiError) as caught:
            await client.chat_postMessage(**POST)
        assert (caught.value.response.status_code, caught.value.response.headers["Retry-After"]) == (429, "100")


async def test_an_empty_body_with_a_json_type_is_taken(slack: FakeSlack) -> None:
    """slack_sdk sends that for methods without arguments."""
    headers = {"Authorization": f"Bearer {slack.token}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession() as http, http.post(slack.base_url + "auth.test", headers=headers) as answer:
        assert (await answer.json())["ok"] is True


@pytest.mark.parametrize("body", ["[]", "7", "{", '"x"'])
async def test_a_body_that_is_no_object_is_refused(slack: FakeSlack, body: str) -> None:
    """As invalid JSON, not with a broken server."""
    headers = {"Authorization": f"Bearer {slack.token}", "Content-Type": "application/json"}
    url = slack.base_url + "chat.postMessage"
    async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=headers) as answer:
        assert (await answer.json())["error"] == "invalid_json"


# Faults --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        (Kind.RESET, 0),
        (Kind.STATUS, 0),
        (Kind.RATELIMITED, 0),
        (Kind.ERROR, 0),
        (Kind.HTML, 0),
        (Kind.PROCESS_THEN_RESET, 1),
        (Kind.PROCESS_THEN_STATUS, 1),
    ],
)
async def test_a_fault_strikes_once_and_stores_only_what_it_says(
    client: AsyncWebClient, slack: FakeSlack, kind: Kind, stored: int
) -> None:
    """Before or after the message was taken; the next call is well again."""
    slack.inject("chat.postMessage", kind)
    with pytest.raises((SlackApiError, aiohttp.ClientError)):
        await client.chat_postMessage(**POST)
    after_fault = len(slack.messages())
    await client.chat_postMessage(**POST)
    assert (after_fault, len(slack.messages())) == (stored, stored + 1)


@pytest.mark.parametrize(("kind", "stored"), [(Kind.HANG, 0), (Kind.PROCESS_THEN_HANG, 1)])
async def test_a_hanging_call_hangs_until_it_is_released(
    client: AsyncWebClient, slack: FakeSlack, kind: Kind, stored: int
) -> None:
    """So that a test can kill the caller meanwhile."""
    slack.inject("chat.postMessage", kind)
    call = asyncio.create_task(client.chat_postMessage(**POST))
    await slack.until(lambda: len(slack.calls) == 1)
    assert (call.done(), len(slack.messages())) == (False, stored)
    slack.release()
    with pytest.raises(aiohttp.ClientError):
        await call


async def test_a_fault_for_any_method_strikes_the_next_call(client: AsyncWebClient, slack: FakeSlack) -> None:
    """`*`."""
    slack.inject("*", Kind.ERROR, error="fatal_error")
    assert await error_of(client.auth_test()) == "fatal_error"


async def test_the_journal_has_every_call_but_no_token(client: AsyncWebClient, slack: FakeSlack) -> None:
    """With its time, its answer and the fault that struck."""
    slack.inject("chat.postMessage", Kind.PROCESS_THEN_RESET)
    with pytest.raises(aiohttp.ClientError):
        await client.chat_postMessage(**POST)
    (call,) = slack.calls
    assert (call.method, call.status, call.fault, slack.token in str(call)) == (
        "chat.postMessage",
        0,
        "process_then_reset",
        False,
    )


async def test_faults_and_the_journal_are_reached_from_outside(client: AsyncWebClient, slack: FakeSlack) -> None:
    """For tests in other processes."""
    async with aiohttp.ClientSession(slack.address) as http:
        await http.post("/_fake/faults", json={"method": "chat.postMessage", "kind": "ratelimited", "retry_after": 3})
        await error_of(client.chat_postMessage(**POST))
        calls = (await (await http.get("/_fake/calls?method=chat.postMessage")).json())["calls"]
        messages = (await (await http.get("/_fake/messages")).json())["messages"]
        wrong = await http.post("/_fake/faults", json={"kind": "gremlins"})
    assert ([call["error"] for call in calls], messages, wrong.status) == ([""], [], 400)


# As a process --------------------------------------------------------------------------------------------------------


async def started(*arguments: str) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tocsin.testing.slack", "--parent", *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    async with asyncio.timeout(30):
        line = await process.stdout.readline()
    return process, json.loads(line)


async def test_messages_survive_kill_nine(tmp_path: Path) -> None:
    """What was answered is on the disk; a line that the kill cut short is left out."""
    state = tmp_path / "slack.jsonl"
    process, hello = await started("--state", str(state))
    client = AsyncWebClient(token=hello["token"], base_url=hello["base_url"], retry_handlers=[])
    ts = (await client.chat_postMessage(**POST))["ts"]
    process.kill()
    await process.wait()
    with state.open("a") as file:
        file.write('{"message": {"chan')
    again, hello = await started("--state", str(state))
    client = AsyncWebClient(token=hello["token"], base_url=hello["base_url"], retry_handlers=[])
    history = await client.conversations_history(channel="C0ALERTS")
    again.kill()
    await again.wait()
    assert [message["ts"] for message in history["messages"]] == [ts]


async def test_the_process_ends_with_its_parent() -> None:
    """A parent that is killed closes our input, and no stray server stays behind."""
    process, _ = await started("--channel", "C0A=a")
    assert process.stdin is not None
    process.stdin.close()
    async with asyncio.timeout(30):
        assert await process.wait() == 0
