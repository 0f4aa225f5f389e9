"""kill -9 at the worst moments: one incident is one message all the same."""

from __future__ import annotations

import json
import sqlite3

from tocsin.testing.slack import FakeSlack, Kind
from tocsin.testing.waiting import eventually

from .conftest import DaemonProcess, Target


def posts_tried(slack: FakeSlack) -> int:
    return sum(call.method == "chat.postMessage" for call in slack.calls)


async def resolved(slack: FakeSlack) -> bool:
    """The end was told in the thread of the only message."""
    posted = slack.posted()
    return len(posted) == 1 and len(slack.thread(posted[0])) >= 1


async def test_killed_between_firing_and_sent(daemon: DaemonProcess, slack: FakeSlack, target: Target) -> None:
    """The alert fired, Slack has not taken the message, kill -9: after the restart it is sent, once."""
    slack.inject("chat.postMessage", Kind.HANG)
    await daemon.start()
    target.status = 500
    await eventually(lambda: posts_tried(slack) == 1)
    await daemon.kill()
    assert len(slack.posted()) == 0
    await daemon.start()
    await eventually(lambda: len(slack.posted()) == 1)
    target.status = 200
    await eventually(lambda: resolved(slack))
    assert len(slack.posted()) == 1


async def test_killed_between_sent_and_the_receipt(daemon: DaemonProcess, slack: FakeSlack, target: Target) -> None:
    """Slack has the message, the daemon does not know, kill -9: after the restart it is found by its metadata."""
    slack.inject("chat.postMessage", Kind.PROCESS_THEN_HANG)
    await daemon.start()
    target.status = 500
    await eventually(lambda: len(slack.posted()) == 1)
    await daemon.kill()
    await daemon.start()
    target.status = 200
    await eventually(lambda: resolved(slack))
    assert (len(slack.posted()), "conversations.history" in {call.method for call in slack.calls}) == (1, True)


async def test_recovered_while_the_daemon_was_dead(daemon: DaemonProcess, slack: FakeSlack, target: Target) -> None:
    """Whoever was told "firing" is told the end, though nobody was there to see it."""
    await daemon.start()
    target.status = 500
    await eventually(lambda: len(slack.posted()) == 1)
    await daemon.kill()
    target.status = 200
    await daemon.start()
    await eventually(lambda: resolved(slack))
    assert len(slack.posted()) == 1


async def test_still_failing_after_a_restart_is_no_news(
    daemon: DaemonProcess, slack: FakeSlack, target: Target
) -> None:
    """A restart in the middle of an incident posts nothing again and resolves nothing."""
    await daemon.start()
    target.status = 500
    await eventually(lambda: len(slack.posted()) == 1)
    for _ in range(2):
        await daemon.kill()
        await daemon.start()
        polls = len(daemon.log("source.seen"))
        await eventually(lambda polls=polls: len(daemon.log("source.seen")) > polls or polls > 0)  # type: ignore[misc]
    target.status = 200
    await eventually(lambda: resolved(slack))
    assert (len(slack.posted()), len(slack.thread(slack.posted()[0]))) == (1, 1)


async def test_sigterm_ends_cleanly_and_the_next_start_goes_on(
    daemon: DaemonProcess, slack: FakeSlack, target: Target
) -> None:
    """A drain loses nothing and exits 0."""
    await daemon.start()
    target.status = 500
    await eventually(lambda: len(slack.posted()) == 1)
    assert await daemon.stop() == 0
    await daemon.start()
    target.status = 200
    await eventually(lambda: resolved(slack))
    assert len(slack.posted()) == 1


async def test_killed_while_an_alert_is_pending(daemon: DaemonProcess, slack: FakeSlack, target: Target) -> None:
    """It goes on from when its condition began, instead of waiting for the whole of its `for` again."""
    rules = daemon.folder / "rules.yaml"
    rules.write_text(rules.read_text().replace("        labels:", "        for: 6s\n        labels:"))
    await daemon.start()
    target.status = 500
    began: list[str] = []

    def pending() -> bool:
        with sqlite3.connect(f"file:{daemon.folder / 'tocsin.db'}?mode=ro", uri=True) as store:
            began[:] = [json.loads(doc)["active_at"] for (doc,) in store.execute("SELECT doc FROM alerts")]
        return bool(began)

    await eventually(pending)
    first = began[0]
    await daemon.kill()
    await daemon.start()
    assert (pending(), began, len(slack.posted())) == (True, [first], 0)
    await eventually(lambda: len(slack.posted()) == 1)
    assert (pending(), began) == (True, [first])


async def test_a_notifier_that_was_replaced_while_the_daemon_was_dead_leaves_its_debt_to_the_next(
    daemon: DaemonProcess, slack: FakeSlack, target: Target
) -> None:
    """kill -9 while it fires, another configuration at the next start: whoever is told now hears of the end."""
    await daemon.start()
    target.status = 500
    await eventually(lambda: len(slack.posted()) == 1)
    await daemon.kill()
    config = daemon.folder / "config.yaml"
    config.write_text(config.read_text().replace('"pages"', '"others"'))
    target.status = 200
    await daemon.start()
    await eventually(lambda: len(slack.posted()) == 2)
    heard = slack.posted()[1]
    # The message itself says so where the end was seen before it was sent.
    await eventually(lambda: "RESOLVED" in slack.posted()[1].text or len(slack.thread(heard)) >= 1)
