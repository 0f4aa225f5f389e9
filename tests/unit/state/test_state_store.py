"""The store: what a commit holds, what a restart finds, and what is forgotten when."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from tocsin.access.tokens import Scope, allows, is_valid, mint
from tocsin.errors import StateError
from tocsin.incidents import Book, ack, react, silence, tick
from tocsin.incidents.matching import parse_matcher
from tocsin.model import AlertState, Receipt, Silence, Transition
from tocsin.state import Change, State
from tocsin.testing.clock import START as NOW

from .storing import PLAN, alert, later, restored, seen


async def test_a_restart_finds_the_book_as_it_was(store: State) -> None:
    """Incidents, members, what was told, silences: all that policy decides by."""
    book = await seen(store, Book(plan=PLAN), alert("a"), alert("b"), alert(service="web"))
    book = await seen(store, book, alert("a", state=AlertState.RESOLVED, at=5), at=5)
    outcome = ack(book, book.open[0].id, "ana", later(6))
    await store.commit(Change.of(outcome))
    hush = Silence(
        id="s-1", matchers=(parse_matcher("service=~web|api"),), starts_at=NOW, ends_at=later(3600), created_by="ana",
        why="deploy",
    )  # fmt: skip
    outcome = silence(outcome.book, hush, later(7))
    await store.commit(Change.of(outcome))
    again = await restored(store, later(60))
    assert {id: (set(file.incident.members), file.told) for id, file in again.files.items()} == {
        id: (set(file.incident.members), file.told) for id, file in outcome.book.files.items()
    }
    assert {id: replace(file.incident, members=()) for id, file in again.files.items()} == {
        id: replace(file.incident, members=()) for id, file in outcome.book.files.items()
    }
    assert (again.silences, again.by_group) == (outcome.book.silences, outcome.book.by_group)


async def test_pending_and_firing_alerts_are_restored_and_ended_ones_are_not(store: State) -> None:
    """A rule with `for` goes on from where it was."""
    pending = alert("p", state=AlertState.PENDING)
    await store.commit(Change(alerts=(pending, alert("a"), alert("b"))))
    await store.commit(Change(alerts=(alert("b", state=AlertState.RESOLVED, at=1),)))
    found = await store.load(later(60))
    assert set(found.alerts) == {pending, alert("a")}


async def test_what_ended_long_ago_is_not_loaded_unless_its_end_is_owed(store: State) -> None:
    """A restart doesn't read a year of history."""
    book = await seen(store, Book(plan=PLAN), alert())
    over = react(book, [Transition(alert=alert(state=AlertState.RESOLVED, at=5), before=None, at=later(5))], later(5))
    untold = replace(Change.of(over), told=())
    await store.commit(untold)
    assert len((await restored(store, later(9e5))).files) == 1
    await store.commit(Change(told=over.told))
    assert (await restored(store, later(9e5))).files == {}
    assert len((await restored(store, later(3600))).files) == 1


async def test_a_commit_is_all_or_nothing(store: State) -> None:
    """A row that can't be written takes the others with it."""
    outcome = react(Book(plan=PLAN), [Transition(alert=alert(), before=None, at=NOW)], NOW)
    broken = replace(outcome.incidents[0], id="i-broken", opened_at=None)  # type: ignore[arg-type]
    with pytest.raises((StateError, AttributeError)):
        await store.commit(replace(Change.of(outcome), incidents=(*outcome.incidents, broken)))
    assert (await store.history.incidents(), await store.outbox.next_due("chat")) == ((), None)


async def test_changes_that_could_not_be_stored_merge(store: State) -> None:
    """Stored together later they leave what each by itself would have left."""
    book, changes = Book(plan=PLAN), []
    for at, each in enumerate((alert("a"), alert("b"), alert("a", state=AlertState.RESOLVED, at=2))):
        outcome = react(book, [Transition(alert=each, before=None, at=later(at))], later(at))
        book = outcome.book
        changes.append(Change.of(outcome, [each]))
    await store.commit(changes[0].then(changes[1]).then(changes[2]))
    again = await restored(store, later(60))
    assert again.files.keys() == book.files.keys()
    (id,) = book.files
    assert set(again.files[id].incident.members) == set(book.files[id].incident.members)
    assert (again.files[id].told, await store.load(later(60))) == (book.files[id].told, await store.load(later(60)))
    assert {each.id for each in (await store.load(later(60))).alerts} == {alert("b").id}


async def test_an_ack_is_kept_with_its_time(store: State) -> None:
    """The time to acknowledge is measured from it."""
    book = await seen(store, Book(plan=PLAN), alert())
    outcome = ack(book, book.open[0].id, "ana", later(42))
    await store.commit(Change.of(outcome))
    async with store.reading() as connection:
        rows = (await connection.execute(sa.text('SELECT incident, "by" FROM acks'))).all()
    assert [tuple(row) for row in rows] == [(book.open[0].id, "ana")]


async def test_the_history_of_an_incident_says_who_was_told_what_and_why(store: State) -> None:
    """What `tocsin incidents show` prints."""
    book = await seen(store, Book(plan=PLAN), alert())
    story = await store.history.story(book.open[0].id)
    assert story is not None
    assert [(kept.notifier, kept.decision.because) for kept in story.decisions] == [("chat", "new P0 of route all")]
    assert [(row.action.value, row.state) for row in story.calls] == [("post", "queued")]
    assert (story.incident, await store.history.story("i-none")) == (book.open[0], None)


async def test_what_is_old_and_owed_to_nobody_is_forgotten(store: State) -> None:
    """What waits to be sent stays, however old."""
    book = await seen(store, Book(plan=PLAN), alert(), alert(service="web"))
    ended = [alert(state=AlertState.RESOLVED, at=5), alert(service="web", state=AlertState.RESOLVED, at=5)]
    await seen(store, book, *ended, at=5)
    (kept, *_) = await store.outbox.claim_due("chat", later(5), owner="me", lease=60)
    assert kept is not None
    async with store.writing() as connection:
        await connection.execute(
            sa.text("UPDATE notifications SET state='sent' WHERE incident <> :kept"),
            {"kept": kept.notification.incident.id},
        )
    assert await store.prune(later(9e6)) == 1
    assert [incident.id for incident in await store.history.incidents()] == [kept.notification.incident.id]


async def test_what_a_silence_hid_is_kept_until_it_was_told(store: State) -> None:
    """With its incident and its silence, however old; and a restart has all three."""
    hush = Silence(
        id="s-1", matchers=(parse_matcher("alertname=~.+"),), starts_at=NOW, ends_at=later(60), created_by="ana",
        why="x",
    )  # fmt: skip
    made = silence(Book(plan=PLAN), hush, NOW)
    await store.commit(Change.of(made))
    book = await seen(store, made.book, alert())
    book = await seen(store, book, alert(state=AlertState.RESOLVED, at=5), at=5)
    assert await store.prune(later(9e6)) == 0
    again = (await store.load(later(9e6))).book(PLAN, later(9e6))
    assert (again.hidden, set(again.files), set(again.silences)) == (book.hidden, set(book.files), {"s-1"})
    assert again.next_look is not None
    told = tick(again, later(9e6))
    await store.commit(Change.of(told))
    (report,) = told.queue
    ((entry, incident),) = await store.history.hidden_by("s-1")
    assert (entry.told_by, incident.id, told.book.files) == (report.id, next(iter(book.files)), {})
    assert (await store.load(later(9e6))).hidden == ()
    assert await store.prune(later(9e6 + 1)) == 1
    assert (await store.history.silence("s-1"), await store.check()) == (None, ())


async def test_what_an_open_incident_was_told_is_never_forgotten(store: State) -> None:
    """However old: its end follows that message."""
    await seen(store, Book(plan=PLAN), alert())
    (post,) = await store.outbox.claim_due("chat", NOW, owner="me", lease=60)
    row = post.notification
    await store.outbox.finish(
        post, Receipt(notification=row.id, notifier="chat", incident=row.incident.id, action=row.action, at=NOW)
    )
    assert await store.prune(later(9e6)) == 0
    story = await store.history.story(row.incident.id)
    assert story is not None
    assert ([each.state for each in story.calls], len(story.receipts)) == (["sent"], 1)


async def test_checkpoints_are_replaced_whole(store: State) -> None:
    """Bytes as they were saved, by name."""
    auth, other = store.checkpoint("auth"), store.checkpoint("other")
    assert await auth.load() is None
    await auth.save(b"\x00\xff1")
    await auth.save(b"\x00\xff2")
    assert (await auth.load(), await other.load()) == (b"\x00\xff2", None)


async def test_service_tokens_are_kept_by_their_digest(store: State) -> None:
    """A token is valid until it expires or is revoked; when it was used last is known."""
    clear, token = mint([Scope.METRICS_READ, Scope.ALERTS_WRITE], NOW, expires_at=later(60), note="grafana")
    await store.tokens.put(token)
    found = await store.tokens.get(token.id)
    assert found == token
    assert is_valid(clear, found, later(59))
    assert not is_valid(clear, found, later(60))
    assert (allows(found, Scope.ALERTS_WRITE), allows(found, Scope.ADMIN)) == (True, False)
    await store.tokens.used(token.id, later(5))
    assert (await store.tokens.revoke(token.id, later(6)), await store.tokens.revoke("none", NOW)) == (True, False)
    (listed,) = await store.tokens.list()
    assert (listed.last_used_at, is_valid(clear, listed, later(7))) == (later(5), False)


async def test_a_sound_store_has_nothing_to_report(store: State) -> None:
    """And one that somebody else wrote to has."""
    await seen(store, Book(plan=PLAN), alert())
    assert await store.check() == ()
    async with store.writing() as connection:
        await connection.execute(sa.text("DELETE FROM incidents"))
        await connection.execute(sa.text("UPDATE notifications SET state='sent'"))
    assert await store.check() == (
        "1 members belong to no incident",
        "1 rows of what was told belong to no incident",
        "1 notifications are marked sent and have no receipt",
    )
