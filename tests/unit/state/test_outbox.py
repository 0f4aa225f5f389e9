"""The outbox: claimed once, in order, never lost; on SQLite and on Postgres alike."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tocsin.errors import StaleClaim
from tocsin.incidents import Told
from tocsin.incidents.calls import Withdrawal
from tocsin.incidents.told import Via
from tocsin.model import Action, Incident, IncidentState, Notification, Reason, Receipt, Severity
from tocsin.state import Change, Claim, State
from tocsin.testing.clock import START as NOW
from tocsin.testing.notifications import an_incident


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def incident(id: str = "i-1", severity: Severity = Severity.P0, **values: Any) -> Incident:
    return an_incident(id=id, severity=severity, **values)


def call(
    action: Action = Action.POST, of: Incident | None = None, *, to: str = "chat", revision: int = 1, at: float = 0
) -> Notification:
    about = of or incident()
    return Notification(
        id=f"{about.id}:{to}:{action}:{revision}", notifier=to, action=action, reason=Reason.NEW_INCIDENT,
        because="new", incidents=(replace(about, revision=revision),), created_at=NOW, not_before=later(at),
    )  # fmt: skip


def receipt(claim: Claim, ref: str = "1", at: datetime = NOW) -> Receipt:
    row = claim.notification
    return Receipt(
        notification=row.id, notifier=row.notifier, incident=row.incident.id, action=row.action, at=at, ref=ref,
        permalink=f"https://chat.example/{ref}",
    )  # fmt: skip


async def put(state: State, *calls: Notification | Withdrawal) -> Any:
    """Queue calls, with their incidents as they are said to be."""
    about = [c.incidents[0] for c in calls if isinstance(c, Notification)]
    newest = {each.id: each for each in about}
    members = tuple((each.id, alert) for each in newest.values() for alert in each.members)
    return await state.commit(Change(incidents=tuple(newest.values()), members=members, calls=calls))


async def claim(state: State, *, now: datetime = NOW, to: str = "chat", owner: str = "me") -> Claim | None:
    claims = await state.outbox.claim_due(to, now, owner=owner, lease=60)
    return claims[0] if claims else None


async def drain(state: State, *, now: datetime = NOW, to: str = "chat") -> list[str]:
    """What the destination would hear, in its order."""
    heard = []
    while (found := await claim(state, now=now, to=to)) is not None:
        heard.append(found.notification.id.split(":", 2)[0] + " " + found.notification.action)
        await state.outbox.finish(found, receipt(found, str(len(heard))))
    return heard


async def fates(state: State, id: str = "i-1") -> dict[str, str]:
    story = await state.history.story(id)
    assert story is not None
    return {row.id.split(":", 2)[2]: row.state for row in story.calls}


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


# Taken back ----------------------------------------------------------------------------------------------------------


def ends(instead: bool) -> Withdrawal:
    over = incident(state=IncidentState.RESOLVED, resolved_at=NOW)
    said = replace(call(of=over), because="it was over before") if instead else None
    return Withdrawal(
        post="i-1:chat:post:1", incident="i-1", notifier="chat", instead=said,
        otherwise=(call(Action.RESOLVE, over, revision=2), call(Action.EDIT, over, revision=2)),
    )  # fmt: skip


async def test_a_post_that_certainly_has_not_gone_out_is_taken_back(store: State) -> None:
    """With what waited behind it; the destination knows nothing then."""
    await put(store, call(), call(Action.EDIT, revision=2))
    corrected = await put(store, ends(instead=False))
    assert corrected.told == (Told(incident="i-1", notifier="chat"),)
    assert (await drain(store, now=later(99)), await fates(store)) == ([], {"post:1": "withdrawn", "edit:2": "void"})


async def test_a_page_is_told_once_as_over(store: State) -> None:
    """In the place of what waited."""
    await put(store, call())
    assert not await put(store, ends(instead=True))
    found = await claim(store)
    assert found is not None
    assert (found.notification.id, found.notification.incident.state) == ("i-1:chat:post:1", IncidentState.RESOLVED)


@pytest.mark.parametrize("sent", [False, True], ids=["in doubt", "sent"])
async def test_what_may_have_gone_out_is_owed_its_end(store: State, sent: bool) -> None:
    """Claimed is enough."""
    await put(store, call())
    post = await claim(store)
    assert post is not None
    if sent:
        await store.outbox.finish(post, receipt(post))
    assert not await put(store, ends(instead=False))
    await store.outbox.finish(post, receipt(post))
    assert await drain(store) == ["i-1 resolve", "i-1 edit"]


async def test_what_was_throttled_can_be_taken_back(store: State) -> None:
    """It was tried, and certainly not delivered."""
    await put(store, call())
    post = await claim(store)
    assert post is not None
    await store.outbox.retry(post, later(30), "slow down", doubt=False)
    assert await put(store, ends(instead=False))


@pytest.mark.untraced  # two thousand rows of the same code: traced, they take three times as long
async def test_two_thousand_ends_are_one_transaction(store: State) -> None:
    """A storm that is over at once."""
    many = [incident(f"i-{n}") for n in range(2000)]
    await put(store, *[call(of=each) for each in many])
    withdrawals = [replace(ends(instead=False), post=f"i-{n}:chat:post:1", incident=f"i-{n}") for n in range(2000)]
    corrected = await store.commit(Change(calls=tuple(withdrawals)))
    assert (len(corrected.told), await claim(store)) == (2000, None)


# Elsewhere -----------------------------------------------------------------------------------------------------------


async def told_of(store: State) -> dict[str, Via]:
    story = await store.history.story("i-1")
    assert story is not None
    return {entry.notifier: entry.via for entry in story.told}


async def test_a_refusal_moves_the_incident_to_the_failover(store: State) -> None:
    """What waited for the destination that refuses is void; the failover is told what the incident is now."""
    posted = Told(incident="i-1", notifier="chat", via=Via.POST, post="i-1:chat:post:1", at=NOW)
    await put(store, call(), call(Action.EDIT, revision=2))
    await store.commit(Change(told=(posted,), incidents=(replace(incident(), acked_by="ana", revision=5),)))
    refused = await claim(store)
    assert refused is not None
    correction = await store.outbox.fail_over(refused.notification, "mail", "not_in_channel", NOW, claim=refused)
    assert (correction.gone, [entry.notifier for entry in correction.told]) == ((("i-1", "chat"),), ["mail"])
    found = await claim(store, to="mail")
    assert found is not None
    row = found.notification
    assert (row.id, row.action, row.reason, row.incident.acked_by) == (
        "i-1:chat:post:1>mail", Action.POST, Reason.FAILED_OVER, "ana",
    )  # fmt: skip
    assert row.because.endswith("(chat: not_in_channel)")
    assert await fates(store) == {"post:1": "failed_over", "edit:2": "void", "post:1>mail": "claimed"}
    assert await told_of(store) == {"mail": Via.POST}


async def test_an_overdue_page_is_told_elsewhere_once_and_is_still_tried(store: State) -> None:
    """When the first destination takes it after all, its thread says who was told."""
    await put(store, call())
    assert await store.outbox.next_overdue(20) == later(20)
    assert await store.outbox.overdue(later(19), 20) == ()
    (row,) = await store.outbox.overdue(later(20), 20)
    first = await store.outbox.fail_over(row, "mail", "no receipt", later(20), claim=None)
    assert [entry.notifier for entry in first.told] == ["mail"]
    assert not await store.outbox.fail_over(row, "mail", "no receipt", later(21), claim=None)
    assert await store.outbox.overdue(later(60), 20) != (row,)
    mail = await claim(store, to="mail", now=later(21))
    assert mail is not None
    await store.outbox.finish(mail, receipt(mail, "m1", later(22)))
    late = await claim(store, now=later(30))
    assert late is not None
    await store.outbox.finish(late, receipt(late, "c1", later(30)), threads=True)
    link = await claim(store, now=later(30))
    assert link is not None
    assert link.notification.action is Action.THREAD
    assert link.notification.because == (
        "mail was told at 14:02:22 https://chat.example/m1 as well, because there was no receipt from here in time"
    )


@pytest.mark.parametrize(
    ("severity", "action"), [(Severity.P1, Action.POST), (Severity.P0, Action.EDIT), (Severity.P0, Action.RESOLVE)]
)
async def test_only_what_wakes_for_p0_is_ever_overdue(store: State, severity: Severity, action: Action) -> None:
    """The rest can wait for its destination."""
    await put(store, call(action, incident(severity=severity)))
    assert (await store.outbox.overdue(later(99), 20), await store.outbox.next_overdue(20)) == ((), None)


async def test_a_reply_that_is_refused_follows_the_incident(store: State) -> None:
    """To a failover that has the incident it is a reply; to one that has not, the whole of it."""
    await put(store, call(), call(Action.BROADCAST, revision=2), call(Action.RESOLVE, revision=3))
    post = await claim(store)
    assert post is not None
    await store.outbox.finish(post, receipt(post))
    for expected in (Action.POST, Action.RESOLVE):
        refused = await claim(store)
        assert refused is not None
        await store.outbox.fail_over(refused.notification, "mail", "refused", NOW, claim=refused)
        found = await claim(store, to="mail")
        assert found is not None
        assert found.notification.action is expected
        await store.outbox.finish(found, receipt(found))


async def test_a_digest_that_is_refused_is_a_digest_elsewhere(store: State) -> None:
    """Also one of a single incident."""
    digest = replace(call(Action.DIGEST), id="digest:chat:x")
    await store.commit(Change(calls=(digest,)))
    refused = await claim(store)
    assert refused is not None
    await store.outbox.fail_over(refused.notification, "mail", "refused", NOW, claim=refused)
    found = await claim(store, to="mail")
    assert found is not None
    assert (found.notification.id, found.notification.action) == ("digest:chat:x>mail", Action.DIGEST)


async def test_a_message_that_was_deleted_is_posted_anew(store: State) -> None:
    """And the new one is what replies follow from then on."""
    await put(store, call(), call(Action.BROADCAST, revision=2))
    post = await claim(store)
    assert post is not None
    await store.outbox.finish(post, receipt(post, "old", NOW))
    lost = await claim(store)
    assert lost is not None
    await store.outbox.repost(lost, "message_not_found", NOW)
    again = await claim(store)
    assert again is not None
    assert (again.notification.id, again.notification.action, again.notification.reason) == (
        "i-1:chat:broadcast:2~again", Action.POST, Reason.MESSAGE_LOST,
    )  # fmt: skip
    await store.outbox.finish(again, receipt(again, "new", later(1)))
    await put(store, call(Action.RESOLVE, revision=3))
    ending = await claim(store)
    assert ending is not None
    assert ending.parent is not None
    assert ending.parent.ref == "new"


async def test_nobody_looks_for_a_deleted_message_of_what_is_over(store: State) -> None:
    """Its end was told; only the edit is lost."""
    over = incident(state=IncidentState.RESOLVED, resolved_at=NOW)
    await put(store, call(), call(Action.EDIT, over, revision=2))
    post = await claim(store)
    assert post is not None
    await store.outbox.finish(post, receipt(post))
    lost = await claim(store)
    assert lost is not None
    await store.outbox.repost(lost, "message_not_found", NOW)
    assert await claim(store, now=later(99)) is None


async def test_a_dead_letter_is_listed_and_what_followed_it_is_void(store: State) -> None:
    """The destination knows nothing of the incident then."""
    await put(store, call(), call(Action.RESOLVE, revision=2))
    post = await claim(store)
    assert post is not None
    correction = await store.outbox.give_up(post, "too large", NOW)
    assert correction.gone == (("i-1", "chat"),)
    assert await fates(store) == {"post:1": "dead", "resolve:2": "void"}
    (dead,) = await store.history.dead_letters()
    (waiting,) = await store.outbox.waiting(NOW)
    assert (dead.id, dead.last_error, waiting.count, waiting.dead) == ("i-1:chat:post:1", "too large", 0, 1)


async def test_what_waits_is_counted_by_destination(store: State) -> None:
    """With the age of the oldest that is due."""
    await put(store, call(), call(of=incident("i-2")), call(of=incident("i-3"), at=60))
    (waiting,) = await store.outbox.waiting(later(5))
    assert (waiting.notifier, waiting.count, waiting.oldest, waiting.dead) == ("chat", 3, NOW, 0)
    assert await store.outbox.waiting_for() == {"chat"}


async def test_what_is_tried_in_vain_grows_late(store: State) -> None:
    """However short the pauses between the tries are: it has waited since it was queued."""
    await put(store, call())
    post = await claim(store)
    assert post is not None
    await store.outbox.retry(post, later(300), "connection refused", doubt=False)
    (waiting,) = await store.outbox.waiting(later(200))
    assert waiting.oldest == NOW


async def test_a_mended_configuration_is_tried_at_once(store: State) -> None:
    """What was backed off; not what waits for its time."""
    await put(store, call(), call(of=incident("i-2"), at=60))
    post = await claim(store)
    assert post is not None
    await store.outbox.retry(post, later(300), "invalid_auth", doubt=False)
    assert await store.outbox.hurry(["chat"], later(5)) == 1
    assert await drain(store, now=later(5)) == ["i-1 post"]


async def test_the_end_of_a_storm_is_unheard_until_its_reply_was_delivered(store: State) -> None:
    """An edit that still waits after it is no news: whoever takes over is not told an end that was heard."""

    def storms(action: Action, revision: int) -> Notification:
        ended = incident(state=IncidentState.RESOLVED) if action is not Action.POST else incident()
        said = call(action, ended, revision=revision)
        return replace(said, id=f"storm-1:chat:{action}:{revision}", reason=Reason.OVER_BUDGET)

    async def delivered() -> str:
        found = await claim(store)
        assert found is not None
        await store.outbox.finish(found, replace(receipt(found, found.notification.id), incident="storm-1"))
        return found.notification.action.value

    await put(store, storms(Action.POST, 1))
    await delivered()
    await put(store, storms(Action.EDIT, 2))
    assert await store.outbox.unheard(["chat"]) == {("storm-1", "chat")}
    await put(store, storms(Action.RESOLVE, 3), storms(Action.EDIT, 3))
    assert await store.outbox.unheard(["chat"]) == {("storm-1", "chat")}
    assert await delivered() == "resolve"
    assert (await store.outbox.unheard(["chat"]), (await store.outbox.waiting(NOW))[0].count) == (frozenset(), 1)
