"""A disk that is full, a file that is held or damaged, a backup, and a storm: what was stored stays."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from tocsin.errors import StateError
from tocsin.incidents import Book, react
from tocsin.model import Transition
from tocsin.state import Change, State
from tocsin.testing.clock import START as NOW

from .storing import PLAN, alert, restored, seen


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
