"""The store: what a commit holds, what a restart finds, and what is said when the disk or the file is bad."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from tocsin.access.tokens import Scope, allows, is_valid, mint
from tocsin.errors import StateError
from tocsin.incidents import Book, Destination, Plan, ack, react, silence, tick
from tocsin.incidents.matching import parse_matcher
from tocsin.incidents.routes import Route, Router
from tocsin.model import Alert, AlertState, Labels, Receipt, Silence, Transition
from tocsin.state import Change, State
from tocsin.state.migrations import upgrade, version
from tocsin.state.schema import HEAD, metadata
from tocsin.testing.clock import START as NOW
from tocsin.testing.world import empty_store

PLAN = Plan(
    router=Router([Route(name="all", notify=("chat",), group_by=("service",))]),
    destinations={"chat": Destination(name="chat", edits=True)},
)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def alert(pod: str = "a", service: str = "api", *, state: AlertState = AlertState.FIRING, at: float = 0) -> Alert:
    labels = Labels(alertname="ApiDown", severity="P0", service=service, pod=pod)
    return Alert(
        rule="g;ApiDown", labels=labels, state=state, value=1.5, active_at=NOW, fired_at=NOW,
        resolved_at=later(at) if state is AlertState.RESOLVED else None,
    )  # fmt: skip


async def seen(state: State, book: Book, *alerts: Alert, at: float = 0) -> Book:
    """React and commit, as the pipeline does."""
    now = later(at)
    outcome = react(book, [Transition(alert=each, before=None, at=now) for each in alerts], now)
    await state.commit(Change.of(outcome, alerts))
    return outcome.book


async def restored(state: State, now: datetime) -> Book:
    found = await state.load(now)
    return found.book(PLAN, now)


# What survives -------------------------------------------------------------------------------------------------------


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


# Opening -------------------------------------------------------------------------------------------------------------


async def test_migrations_make_the_schema(store: State) -> None:
    """The tables that the code names and those that the migrations create are the same."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    def differences(connection: sa.Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    async with store.reading() as connection:
        assert await connection.run_sync(version) == HEAD
        assert await connection.run_sync(differences) == []


async def test_migrating_again_changes_nothing(store: State) -> None:
    """`tocsin state migrate` may be run at any time."""
    async with store.writing() as connection:
        await connection.run_sync(upgrade)
    assert await store.check() == ()


async def test_a_current_store_is_opened_without_alembic(tmp_path: Path) -> None:
    """It costs start-up time and memory, and is needed once a release."""
    file = tmp_path / "state.db"
    file.write_bytes(await asyncio.to_thread(empty_store))
    script = (
        "import asyncio, sys\nfrom tocsin.state import State\n"
        f"async def main():\n    await (await State.open('sqlite:///{file}')).close()\n"
        "asyncio.run(main())\nassert 'alembic' not in sys.modules\n"
    )
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "not a URL"),
        ("mysql://host/db", "mysql is not supported"),
        ("sqlite://", "names no file"),
        ("sqlite:////no/such/folder/state.db", "does its folder exist"),
    ],
)
async def test_a_url_that_can_not_be_used_is_an_error_that_says_what_to_write(url: str, says: str) -> None:
    """One line, with the mend."""
    with pytest.raises(StateError, match=says):
        await State.open(url)


async def test_a_postgres_that_is_not_there_is_an_error_without_its_password() -> None:
    """It is shown in logs."""
    with pytest.raises(StateError, match="start it") as caught:
        await State.open("postgresql://tocsin:geheim@127.0.0.1:1/db")
    assert "geheim" not in str(caught.value)


async def test_a_file_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    """And the error says so."""
    file = tmp_path / "state.db"
    file.write_text("this is a letter, and not a database, but it is long enough to be read as one" * 20)
    with pytest.raises(StateError, match="not a state store"):
        await State.open(f"sqlite:///{file}")
    assert file.read_text().startswith("this is a letter")


async def test_a_store_of_a_newer_tocsin_is_refused(store_url: str) -> None:
    """An older one would not know what it destroys."""
    state = await State.open(store_url)
    async with state.writing() as connection:
        await connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    await state.close()
    with pytest.raises(StateError, match="install the newer"):
        await State.open(store_url)


async def test_a_store_that_is_behind_can_be_left_as_it_is(tmp_path: Path) -> None:
    """Commands that only look don't migrate."""
    with pytest.raises(StateError, match="tocsin state migrate"):
        await State.open(f"sqlite:///{tmp_path / 'new.db'}", migrate=False)


async def test_two_daemons_can_not_have_one_file(tmp_path: Path) -> None:
    """The second is told who has it; when that ends, it may."""
    url = f"sqlite:///{tmp_path / 'state.db'}"
    first, second = await State.open(url), await State.open(url)
    await first.take_over(NOW)
    with pytest.raises(StateError, match=r"in use by another tocsin \(process \d+\)"):
        await second.take_over(NOW)
    await first.close()
    assert await second.take_over(NOW) == 0
    await second.close()


# Bad days ------------------------------------------------------------------------------------------------------------


@contextmanager
def full_disk(file: Path) -> Iterator[None]:
    """No file of this process may grow beyond what this one has, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_full_disk_is_an_error_and_no_loss(tmp_path: Path) -> None:
    """What was stored stays; the same change is stored when there is room again."""
    file = tmp_path / "state.db"
    state = await State.open(f"sqlite:///{file}")
    await seen(state, Book(plan=PLAN), alert())
    many = react(
        Book(plan=PLAN), [Transition(alert=alert(str(n), "web"), before=None, at=NOW) for n in range(3000)], NOW
    )
    with full_disk(file), pytest.raises(StateError, match=r"make room"):
        await state.commit(Change.of(many))
    assert len((await restored(state, NOW)).files) == 1
    await state.commit(Change.of(many))
    assert len((await restored(state, NOW)).files) == 2
    await state.close()


async def test_a_file_that_another_program_holds_is_an_error_that_says_so(tmp_path: Path) -> None:
    """After five seconds of patience."""
    file = tmp_path / "state.db"
    state = await State.open(f"sqlite:///{file}")
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateError, match="another program holds the file"):
        await state.checkpoint("a").save(b"x")
    other.execute("ROLLBACK")
    other.close()
    await state.checkpoint("a").save(b"x")
    await state.close()


async def test_a_damaged_file_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    """It is neither deleted nor written over."""
    file = tmp_path / "state.db"
    state = await State.open(f"sqlite:///{file}")
    await seen(state, Book(plan=PLAN), *[alert(str(n)) for n in range(500)])
    await state.close()
    content = bytearray(file.read_bytes())
    content[4096:-4096] = b"\xa5" * (len(content) - 8192)
    file.write_bytes(content)
    with pytest.raises(StateError, match="restore a backup"):
        await restored(await _opened(file), NOW)
    assert file.read_bytes()[:4096] == bytes(content)[:4096]


async def _opened(file: Path) -> State:
    return await State.open(f"sqlite:///{file}")


async def test_a_backup_is_a_whole_store(tmp_path: Path) -> None:
    """Taken while the daemon writes; never over another file."""
    state = await State.open(f"sqlite:///{tmp_path / 'state.db'}")
    await seen(state, Book(plan=PLAN), alert())
    await state.backup(tmp_path / "copy.db")
    with pytest.raises(StateError, match="name a new file"):
        await state.backup(tmp_path / "copy.db")
    await state.close()
    copy = await State.open(f"sqlite:///{tmp_path / 'copy.db'}")
    assert len((await restored(copy, NOW)).files) == 1
    await copy.close()


@pytest.mark.untraced  # ten thousand rows of the same code: traced, they take three times as long
async def test_ten_thousand_alerts_are_a_few_statements(tmp_path: Path) -> None:
    """A storm is one transaction, and one commit."""
    state = await State.open(f"sqlite:///{tmp_path / 'state.db'}")
    storm = react(Book(plan=PLAN), [Transition(alert=alert(str(n)), before=None, at=NOW) for n in range(10_000)], NOW)
    statements = 0

    def count(*_: object) -> None:
        nonlocal statements
        statements += 1

    commits: list[object] = []

    def committed(connection: object) -> None:
        commits.append(connection)

    sa.event.listen(sa.engine.Engine, "before_cursor_execute", count)
    sa.event.listen(sa.engine.Engine, "commit", committed)
    try:
        await state.commit(Change.of(storm, [alert(str(n)) for n in range(10_000)]))
    finally:
        sa.event.remove(sa.engine.Engine, "before_cursor_execute", count)
        sa.event.remove(sa.engine.Engine, "commit", committed)
    assert (statements <= 10, len(commits)) == (True, 1)
    assert len((await restored(state, NOW)).open[0].members) == 10_000
    await state.close()
