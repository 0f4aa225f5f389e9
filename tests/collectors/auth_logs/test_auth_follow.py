"""Following a file: every line once, through rotation, truncation and restart. Real files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from collectors.auth_logs.follow import GRACE, Follower

AT = datetime(2026, 8, 20, 9, 0, tzinfo=UTC)
LATER = timedelta(seconds=GRACE + 1)


def follower(path: Path, saved: dict[str, Any] | None = None, **settings: Any) -> Follower:
    return Follower(path, saved=saved, **{"from_end": False, "max_line": 4096, **settings})


def drain(following: Follower) -> list[bytes]:
    lines: list[bytes] = []
    while (chunk := following.read()) is not None:
        lines += chunk.lines
        following.commit(chunk)
    return lines


def looked(following: Follower, now: datetime = AT) -> tuple[list[bytes], int]:
    gaps = following.look(now)
    return drain(following), gaps


def append(path: Path, *lines: bytes) -> None:
    with path.open("ab") as file:
        file.write(b"".join(line + b"\n" for line in lines))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "auth.jsonl"


def test_an_incomplete_line_waits_for_its_rest(log: Path) -> None:
    """A line counts when its line break is there, and once."""
    log.write_bytes(b"one\ntw")
    following = follower(log)
    assert looked(following)[0] == [b"one"]
    with log.open("ab") as file:
        file.write(b"o\n")
    assert looked(following)[0] == [b"two"]
    following.close()


def test_a_first_start_passes_over_what_is_there(log: Path) -> None:
    """`start: end` begins after the last complete line, so a line that is being written is not cut in two."""
    log.write_bytes(b"old\nhal")
    following = follower(log, from_end=True)
    assert looked(following)[0] == []
    with log.open("ab") as file:
        file.write(b"f\n")
    assert looked(following)[0] == [b"half"]
    following.close()


def test_a_file_that_appears_is_read_from_its_begin(log: Path) -> None:
    """It was waited for: nothing in it is old, whatever `start` says."""
    following = follower(log, from_end=True)
    with pytest.raises(FileNotFoundError):
        following.look(AT)
    append(log, b"first")
    assert looked(following)[0] == [b"first"]
    following.close()


def test_a_rotated_file_is_read_to_its_end_first(log: Path) -> None:
    """Rename and create: what was written before comes before what was written after."""
    append(log, b"one")
    following = follower(log)
    looked(following)
    append(log, b"two")
    log.rename(log.with_name("auth.jsonl.1"))
    append(log, b"three")
    assert looked(following) == ([b"two", b"three"], 0)
    following.close()


def test_a_writer_that_has_not_reopened_is_still_read(log: Path) -> None:
    """The old file stays open while the new one is empty, however long, and while it is written to."""
    append(log, b"one")
    following = follower(log)
    with log.open("ab", buffering=0) as writer:
        looked(following)
        log.rename(log.with_name("auth.jsonl.1"))
        log.touch()
        for n in range(3):
            looked(following, AT + n * LATER)
        writer.write(b"two\n")
        assert looked(following, AT + 3 * LATER) == ([b"two"], 0)
    following.close()


def test_a_file_that_was_left_is_closed_in_the_end(log: Path) -> None:
    """No descriptor is kept per rotation, and an incomplete last line that nobody completes counts as it is."""
    log.write_bytes(b"one\ncut off")
    following = follower(log)
    looked(following)
    log.rename(log.with_name("auth.jsonl.1"))
    append(log, b"two")
    assert looked(following)[0] == [b"two"]
    assert looked(following, AT + LATER)[0] == [b"cut off"]
    looked(following, AT + LATER)
    assert len(following.to_json()["places"]) == 1
    following.close()


def test_files_that_came_and_went_between_two_looks_are_read(log: Path) -> None:
    """Two rotations within one interval lose nothing."""
    append(log, b"one")
    following = follower(log)
    looked(following)
    log.rename(log.with_name("auth.jsonl.1"))
    append(log, b"two")
    log.with_name("auth.jsonl.1").rename(log.with_name("auth.jsonl.2"))
    log.rename(log.with_name("auth.jsonl.1"))
    append(log, b"three")
    assert looked(following) == ([b"two", b"three"], 0)
    following.close()


@pytest.mark.parametrize("name", ["auth.jsonl.bak", "auth.jsonl.1", "auth-20260820.jsonl"])
def test_a_copy_of_what_was_read_is_not_read_again(log: Path, name: str) -> None:
    """Somebody's backup beside the log counts nothing, at a rotation neither."""
    append(log, b"one", b"two")
    following = follower(log)
    looked(following)
    shutil.copy(log, log.with_name(name))
    log.rename(log.with_name("auth.jsonl.9"))
    append(log, b"three")
    assert looked(following) == ([b"three"], 0)
    following.close()


def test_copy_and_truncate_reads_the_rest_from_the_copy(log: Path) -> None:
    """What was written between the last look and the truncation is in the copy."""
    append(log, b"one")
    following = follower(log)
    looked(following)
    append(log, b"two")
    shutil.copy(log, log.with_name("auth.jsonl.1"))
    os.truncate(log, 0)
    append(log, b"three")
    assert looked(following) == ([b"two", b"three"], 0)
    following.close()


def test_a_file_refilled_past_the_old_position_is_noticed(log: Path) -> None:
    """Emptied and longer than before between two looks: its content tells."""
    append(log, b"one")
    following = follower(log)
    looked(following)
    os.truncate(log, 0)
    append(log, b"a much longer line than before", b"and another")
    assert looked(following) == ([b"a much longer line than before", b"and another"], 0)
    following.close()


def test_unread_lines_that_were_cut_off_are_a_gap(log: Path) -> None:
    """Seen, not read, truncated without a copy: it is said that something was lost."""
    append(log, b"one")
    following = follower(log)
    looked(following)
    append(log, b"two")
    assert following.look(AT) == 0
    os.truncate(log, 0)
    assert looked(following) == ([], 1)
    following.close()


def test_a_restart_goes_on_where_it_stood(log: Path) -> None:
    """Nothing twice, nothing lost."""
    append(log, b"one")
    first = follower(log)
    looked(first)
    saved = first.to_json()
    first.close()
    append(log, b"two")
    second = follower(log, saved)
    assert looked(second) == ([b"two"], 0)
    second.close()


def test_rotations_while_we_were_down_are_caught_up_on(log: Path) -> None:
    """The file of the saved place is found by inode, and those that came after it are read whole."""
    append(log, b"one")
    log.with_name("auth.jsonl.3").write_bytes(b"long ago\n")
    first = follower(log)
    looked(first)
    saved = first.to_json()
    first.close()
    append(log, b"two")
    log.rename(log.with_name("auth.jsonl.2"))
    append(log, b"three")
    log.rename(log.with_name("auth.jsonl.1"))
    append(log, b"four")
    second = follower(log, saved)
    assert looked(second) == ([b"two", b"three", b"four"], 0)
    second.close()


def test_a_place_that_is_gone_is_a_gap(log: Path) -> None:
    """The file that held it was removed while we were down: said, and read on with what is there."""
    append(log, b"one")
    first = follower(log)
    looked(first)
    saved = first.to_json()
    first.close()
    log.unlink()
    # Another file takes the path (and often the inode): its content tells it apart.
    append(log, b"other")
    second = follower(log, saved)
    assert looked(second) == ([b"other"], 1)
    second.close()


def test_a_line_without_end_is_skipped(log: Path) -> None:
    """A line longer than the limit costs bounded memory, counts as one, and the next is read."""
    following = follower(log)
    append(log, b"x" * 700_000, b"next")
    following.look(AT)
    oversize, lines = 0, []
    while (chunk := following.read()) is not None:
        oversize += chunk.oversize
        lines += chunk.lines
        following.commit(chunk)
    assert (oversize, lines) == (1, [b"next"])
    following.close()


def test_a_read_that_is_not_committed_is_read_again(log: Path) -> None:
    """A poll that was cut short between reading and counting loses nothing."""
    append(log, b"one")
    following = follower(log)
    following.look(AT)
    assert [following.read().lines, following.read().lines] == [[b"one"], [b"one"]]  # type: ignore[union-attr]
    following.close()


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_refused(log: Path, kind: str) -> None:
    """A folder or a named pipe at the path is an error, not a hang."""
    if kind == "folder":
        log.mkdir()
    else:
        os.mkfifo(log)
    with pytest.raises(OSError, match="Not a regular file"):
        follower(log).look(AT)


def test_a_path_that_stays_away_is_missing(log: Path) -> None:
    """Between rename and create all is well; after a minute without file and writer it is not."""
    append(log, b"one")
    following = follower(log)
    looked(following)
    log.rename(log.with_name("auth.jsonl.1"))
    assert looked(following, AT) == ([], 0)
    with pytest.raises(FileNotFoundError):
        following.look(AT + LATER)
    append(log, b"two")
    assert looked(following, AT + LATER) == ([b"two"], 0)
    following.close()


class Writer(RuleBasedStateMachine):
    """A writer, a rotating administrator and a follower that restarts, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.log = self.folder / "auth.jsonl"
        self.log.touch()
        self.out = self.log.open("ab", buffering=0)
        self.now = AT
        self.written: list[bytes] = []
        self.read: list[bytes] = []
        self.gaps = 0
        self.partial = b""
        self.reopened = True
        self.seen_content = False
        self.following = follower(self.log)
        self.following.look(self.now)

    @rule(count=st.integers(1, 5), length=st.integers(0, 600))
    def writes(self, count: int, length: int) -> None:
        for _ in range(count):
            line = b"%06d" % len(self.written) + b"." * length
            self.out.write((line if not self.partial else b"") + b"\n")
            self.written.append(self.partial or line)
            self.partial = b""

    @precondition(lambda self: not self.partial)
    @rule(length=st.integers(0, 300))
    def begins_a_line(self, length: int) -> None:
        self.partial = b"%06d" % len(self.written) + b"," * length
        self.out.write(self.partial)

    @rule(seconds=st.sampled_from([1, 30, 61, 500]))
    def looks(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        lines, gaps = looked(self.following, self.now)
        self.read += lines
        self.gaps += gaps
        self.seen_content = self.reopened and any(row[2] for row in self.following.to_json()["places"][-1:])

    @rule()
    def restarts(self) -> None:
        saved = self.following.to_json()
        self.following.close()
        self.following = follower(self.log, saved)

    @rule()
    def looks_but_is_killed_before_counting(self) -> None:
        self.gaps += self.following.look(self.now)
        self.following.read()

    def shift(self) -> None:
        for n in range(30, 0, -1):
            old = self.folder / f"auth.jsonl.{n}"
            if old.exists():
                old.rename(self.folder / f"auth.jsonl.{n + 1}")

    @precondition(lambda self: self.reopened)
    @rule()
    def rotates_by_rename(self) -> None:
        self.shift()
        self.log.rename(self.folder / "auth.jsonl.1")
        self.log.touch()
        self.reopened = self.seen_content = False

    @precondition(lambda self: not self.reopened and not self.partial)
    @rule()
    def reopens(self) -> None:
        self.out.close()
        self.out = self.log.open("ab", buffering=0)
        self.reopened = True

    # A file that was never read can't be told from what it was before it was emptied.
    @precondition(lambda self: self.reopened and self.seen_content and not self.partial)
    @rule()
    def rotates_by_copy(self) -> None:
        self.shift()
        shutil.copy(self.log, self.folder / "auth.jsonl.1")
        os.truncate(self.log, 0)
        self.seen_content = False

    @invariant()
    def nothing_twice(self) -> None:
        assert [line for line, times in Counter(self.read).items() if times > 1] == []

    def teardown(self) -> None:
        try:
            self.looks(1)
            self.looks(1)
            assert sorted(self.read) == sorted(self.written)
            assert self.gaps == 0
        finally:
            self.following.close()
            self.out.close()
            shutil.rmtree(self.folder)


TestEachLineIsReadOnce = Writer.TestCase
TestEachLineIsReadOnce.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
