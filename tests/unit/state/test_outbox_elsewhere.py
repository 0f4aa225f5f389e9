"""What waits in the outbox and is no longer so: taken back, told elsewhere, given up; on SQLite and on Postgres."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tocsin.incidents import Told
from tocsin.incidents.calls import Withdrawal
from tocsin.incidents.told import Via
from tocsin.model import Action, IncidentState, Notification, Reason, Severity
from tocsin.state import Change, State
from tocsin.testing.clock import START as NOW

from .queueing import call, claim, drain, fates, incident, later, put, receipt

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
