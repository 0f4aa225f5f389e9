"""The outbox: claimed once, in order, never lost; on SQLite and on Postgres alike."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tocsin.errors import StaleClaim
from tocsin.model import Action, IncidentState, Severity
from tocsin.state import Change, State
from tocsin.testing.clock import START as NOW

from .queueing import call, claim, drain, fates, incident, later, put, receipt

# Once ----------------------------------------------------------------------------------------------------------------


async def test_the_same_call_is_queued_once(store: State) -> None:
    """A decision that is made again after a crash makes the same id."""
    await put(store, call(), call())
    await put(store, call())
    assert await drain(store) == ["i-1 post"]


async def test_a_claim_is_one_owners(store: State) -> None:
    """The second finds nothing, however they race."""
    await put(store, call())
    claims = await asyncio.gather(*(claim(store, owner=f"o{n}") for n in range(4)))
    assert sum(found is not None for found in claims) == 1


async def test_a_snapshot_comes_back_as_it_was_queued(store: State) -> None:
    """With everything that a message may need."""
    line = replace(call().timeline, sampled_at=later(-1))
    queued = replace(call(), because="new P0 \N{GRINNING FACE}", timeline=line)
    await put(store, queued)
    found = await claim(store)
    assert found is not None
    assert replace(found.notification, attempts=0) == queued
    assert (found.doubt, found.parent, found.notification.attempts) == (False, None, 1)


async def test_what_was_claimed_is_in_doubt_for_whoever_finds_it_again(store: State) -> None:
    """A lapsed lease: the other may have sent it."""
    await put(store, call())
    await claim(store, owner="dead")
    assert await claim(store, now=later(59), owner="next") is None
    again = await claim(store, now=later(60), owner="next")
    assert again is not None
    assert (again.doubt, again.notification.attempts) == (True, 2)


async def test_a_restart_finds_at_once_what_its_predecessor_had_claimed(store: State) -> None:
    """One daemon per file: who else had it is dead."""
    await put(store, call())
    await claim(store, owner="dead")
    assert await store.outbox.release_all(not_before=NOW) == 1
    again = await claim(store, owner="next")
    assert again is not None
    assert again.doubt


async def test_a_certain_failure_ends_the_doubt_and_an_uncertain_one_does_not(store: State) -> None:
    """Only then it may be sent without a look."""
    await put(store, call())
    for doubt in (False, True):
        found = await claim(store)
        assert found is not None
        await store.outbox.retry(found, NOW, "503", doubt=doubt)
    last = await claim(store)
    assert last is not None
    assert (last.doubt, last.notification.last_error) == (True, "503")


async def test_a_retry_waits_for_its_time(store: State) -> None:
    """And its destination's next look is then."""
    await put(store, call())
    found = await claim(store)
    assert found is not None
    await store.outbox.retry(found, later(30), "slow down", doubt=False)
    assert (await claim(store, now=later(29)), await store.outbox.next_due("chat")) == (None, later(30))
    assert await claim(store, now=later(30)) is not None


async def test_who_lost_the_claim_can_change_nothing(store: State) -> None:
    """But that it was delivered is a fact, whoever says so."""
    await put(store, call())
    lost = await claim(store, owner="slow")
    new = await claim(store, now=later(60), owner="next")
    assert lost is not None
    assert new is not None
    for late in (
        store.outbox.retry(lost, NOW, "late", doubt=False),
        store.outbox.skip(lost, "late", NOW),
        store.outbox.repost(lost, "late", NOW),
        store.outbox.give_up(lost, "late", NOW),
        store.outbox.fail_over(lost.notification, "mail", "late", NOW, claim=lost),
    ):
        with pytest.raises(StaleClaim):
            await late
    await store.outbox.finish(lost, receipt(lost))
    assert await fates(store) == {"post:1": "sent"}
    assert [kept.ref for kept in await store.history.receipts("i-1")] == ["1"]


# In order ------------------------------------------------------------------------------------------------------------


async def test_pages_first_then_their_edits_then_the_rest(store: State) -> None:
    """And within each the oldest."""
    low, urgent, page = incident("i-3", Severity.P3), incident("i-0", Severity.P0), incident("i-1", Severity.P1)
    await put(store, call(of=low), call(of=page), call(of=urgent))
    await put(store, call(Action.EDIT, low, revision=2), call(Action.EDIT, page, revision=2))
    await put(store, call(Action.EDIT, urgent, revision=2))
    assert await drain(store) == ["i-0 post", "i-1 post", "i-0 edit", "i-1 edit", "i-3 post", "i-3 edit"]


async def test_what_follows_waits_for_its_post(store: State) -> None:
    """Even while the post is backed off, and nothing else waits for it."""
    await put(store, call(), call(Action.RESOLVE, revision=2), call(Action.EDIT, revision=2), call(of=incident("i-2")))
    post = await claim(store)
    assert post is not None
    await store.outbox.retry(post, later(30), "503", doubt=False)
    assert await drain(store, now=later(10)) == ["i-2 post"]
    assert await drain(store, now=later(30)) == ["i-1 post", "i-1 resolve", "i-1 edit"]


async def test_a_follower_knows_the_message_it_follows(store: State) -> None:
    """The newest first message of its incident there."""
    await put(store, call(), call(Action.THREAD, revision=2))
    await put(store, call(to="mail"))
    for to in ("chat", "mail"):
        post = await claim(store, to=to)
        assert post is not None
        await store.outbox.finish(post, receipt(post, ref=f"ts-{to}"))
    reply = await claim(store)
    assert reply is not None
    assert reply.parent is not None
    assert (reply.parent.ref, reply.parent.notifier) == ("ts-chat", "chat")


async def test_a_post_hurries_when_something_urgent_waits_behind_it(store: State) -> None:
    """A P3 that became P0 before it was told doesn't wait behind other P3."""
    await put(store, call(of=incident("i-2", Severity.P3)), call(of=incident("i-1", Severity.P3)))
    await put(store, call(Action.BROADCAST, incident("i-1", Severity.P0), revision=2))
    assert await drain(store) == ["i-1 post", "i-1 broadcast", "i-2 post"]


async def test_an_edit_replaces_the_edit_that_waits(store: State) -> None:
    """Only the newest state is shown, as it is when it goes out."""
    await put(store, call())
    assert await drain(store) == ["i-1 post"]
    await put(store, call(Action.EDIT, revision=2, at=10))
    await put(store, call(Action.EDIT, revision=3, at=10))
    moved_on = incident(state=IncidentState.ACKED, acked_by="ana", acked_at=NOW)
    await store.commit(Change(incidents=(replace(moved_on, revision=4),)))
    edit = await claim(store, now=later(10))
    assert edit is not None
    assert (edit.notification.id, edit.notification.incident.acked_by) == ("i-1:chat:edit:3", "ana")
    assert (await fates(store))["edit:2"] == "superseded"


async def test_nothing_waits_for_an_edit(store: State) -> None:
    """It may be ten seconds off."""
    await put(store, call())
    await drain(store)
    await put(store, call(Action.EDIT, revision=2, at=10), call(Action.RESOLVE, revision=3))
    assert await drain(store) == ["i-1 resolve"]


async def test_a_digest_waits_for_nobody(store: State) -> None:
    """It belongs to no one incident."""
    await put(store, call())
    digest = replace(
        call(Action.DIGEST), id="digest:chat:x", incidents=(incident(), incident("i-2")), created_at=NOW,
    )  # fmt: skip
    post = await claim(store)
    await store.commit(Change(calls=(digest,)))
    found = await claim(store)
    assert post is not None
    assert found is not None
    assert [each.id for each in found.notification.incidents] == ["i-1", "i-2"]
