"""The request log's files: turned, compressed, deleted; and what they cost."""

from __future__ import annotations

import errno
import gzip
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tocsin.asgi.logs.files import Files, Keeping
from tocsin.asgi.logs.writer import FileSink
from tocsin.cli import cli

AT = 1_772_000_000.0
LINE = b'{"event":"request.done","route":"/a","stands_for":1,"timestamp":"2026-02-25T06:13:20Z"}\n'


def test_a_file_turns_by_size_and_age_and_is_compressed(tmp_path: Path) -> None:
    """No line is lost or in two files."""
    files = Files(tmp_path, Keeping(turn_bytes=3 * len(LINE), turn_age=3600))
    for number in range(10):
        assert files.write(LINE, AT + number)
    files.write(LINE, AT + 4000)
    files.tidy(AT + 4000)
    files.close()
    packed, plain = sorted(tmp_path.glob("*.gz")), sorted(tmp_path.glob("*.jsonl"))
    assert (len(packed), len(plain)) == (4, 1)
    assert b"".join(gzip.decompress(path.read_bytes()) for path in packed) + plain[0].read_bytes() == LINE * 11


def test_old_files_and_too_many_bytes_are_deleted(tmp_path: Path) -> None:
    """By age first, then the oldest until the folder is small enough; what is being written stays."""
    for number, age in enumerate((100, 50, 40, 30)):
        path = tmp_path / f"requests.1.20260225T061320Z-{number}.jsonl.gz"
        path.write_bytes(b"x" * 100)
        os.utime(path, (AT - age, AT - age))
    files = Files(tmp_path, Keeping(keep_age=90, keep_bytes=250))
    files.write(LINE[:49] + b"\n", AT)
    files.tidy(AT)
    files.close()
    assert sorted(path.name[-10:-9] for path in tmp_path.glob("*.gz")) == ["2", "3"]
    assert len(list(tmp_path.glob("requests.*.jsonl"))) == 1


def test_what_a_killed_process_left_is_compressed(tmp_path: Path) -> None:
    """Its number is nobody's now."""
    gone = 2**22 + 1
    (tmp_path / f"requests.{gone}.jsonl").write_bytes(LINE)
    Files(tmp_path).tidy(AT)
    assert [gzip.decompress(path.read_bytes()) for path in tmp_path.iterdir()] == [LINE]


def test_a_line_cut_off_by_a_full_disk_does_not_swallow_the_next(tmp_path: Path) -> None:
    """The half line ends where it is."""
    path = tmp_path / f"requests.{os.getpid()}.jsonl"
    path.write_bytes(b'{"event":"requ')
    files = Files(tmp_path)
    files.write(LINE, AT)
    files.close()
    assert path.read_bytes() == b'{"event":"requ\n' + LINE


def test_a_disk_that_refuses_costs_lines_and_nothing_else() -> None:
    """/dev/full is a full disk: the lines are counted as lost, and the sink goes on."""

    class Full(Files):
        def _open(self, now: float) -> None:
            self._file = Path("/dev/full").open("ab", buffering=0)  # noqa: SIM115

    files = Full(Path("/nowhere"))
    sink = FileSink(files, patience=60)
    assert sink.put(LINE)
    sink.close()
    assert sink.lost == 1
    assert os.strerror(errno.ENOSPC) in files.why


@pytest.mark.parametrize("how", ["removed", "moved", "another"])
def test_a_file_that_somebody_else_moved_loses_no_later_line(tmp_path: Path, how: str) -> None:
    """logrotate, with and without `create`, and a folder that was cleaned away: the next line is in a new file."""
    folder = tmp_path / "logs"
    files = Files(folder)
    assert files.write(LINE, AT)
    path = folder / f"requests.{os.getpid()}.jsonl"
    if how == "removed":
        shutil.rmtree(folder)
    else:
        path.rename(tmp_path / "elsewhere")
    if how == "another":
        path.touch()
    assert files.write(LINE, AT + 1)
    files.close()
    assert path.read_bytes() == LINE


def test_a_full_disk_is_made_emptier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be compressed for want of room must not keep what is too old from being deleted, nor leave a half."""
    old, turned = (tmp_path / f"requests.1.20260225T061320Z-{number}.jsonl" for number in (1, 2))
    old.with_name(old.name + ".gz").write_bytes(b"x")
    os.utime(old.with_name(old.name + ".gz"), (AT - 100, AT - 100))
    turned.write_bytes(LINE)
    os.utime(turned, (AT, AT))

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    files = Files(tmp_path, Keeping(keep_age=90))
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfileobj", full)
        files.tidy(AT)
    assert [path.name for path in tmp_path.iterdir()] == [turned.name]
    assert os.strerror(errno.ENOSPC) in files.why
    files.tidy(AT)
    assert [gzip.decompress(path.read_bytes()) for path in tmp_path.iterdir()] == [LINE]


def test_lines_of_a_quiet_application_grow_too_old_as_well(tmp_path: Path) -> None:
    """Nothing is written for weeks: the file is turned by its age, and deleted by its lines'."""
    files = Files(tmp_path, Keeping(turn_age=3600, keep_age=90 * 3600))
    files.write(LINE, AT)
    path = tmp_path / f"requests.{os.getpid()}.jsonl"
    os.utime(path, (AT, AT))
    files.tidy(AT + 3600)
    assert [len(list(tmp_path.glob(kind))) for kind in ("*.gz", "*.jsonl")] == [1, 1]
    files.tidy(AT + 91 * 3600)
    files.close()
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b""


def test_one_process_at_a_time_compresses_a_file(tmp_path: Path) -> None:
    """Who holds it is left alone with it, and after its kill the next one does it from the beginning."""
    turned = tmp_path / "requests.1.20260225T061320Z-1.jsonl"
    turned.write_bytes(LINE)
    turned.with_name(turned.name + ".gz.part").write_bytes(b"half of a killed one's")
    held = (
        "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", held, str(turned)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )  # fmt: skip
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        Files(tmp_path).tidy(AT)
        assert turned.read_bytes() == LINE
        holder.kill()
    Files(tmp_path).tidy(AT)
    assert [gzip.decompress(path.read_bytes()) for path in tmp_path.iterdir()] == [LINE]


def test_a_turned_file_never_takes_the_place_of_another(tmp_path: Path) -> None:
    """A container's process has the same number after each start, and may turn in the same second."""
    for _ in range(2):
        files = Files(tmp_path, Keeping(turn_bytes=len(LINE)))
        for _ in range(2):
            files.write(LINE, AT)
        files.tidy(AT)
        files.close()
    everything = [gzip.decompress(path.read_bytes()) for path in tmp_path.glob("*.gz")]
    assert b"".join(everything) + (tmp_path / f"requests.{os.getpid()}.jsonl").read_bytes() == LINE * 4


def test_the_sink_writes_what_waits_before_it_ends(tmp_path: Path) -> None:
    """Five thousand lines in order."""
    sink = FileSink(Files(tmp_path), patience=60)
    for number in range(5000):
        assert sink.put(b"%d" % number)
    sink.close()
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert written.split() == [b"%d" % number for number in range(5000)]


def test_a_full_queue_loses_lines_and_says_so(tmp_path: Path) -> None:
    """The application's memory is not the log's."""
    sink = FileSink(Files(tmp_path), most=0)
    assert [sink.put(LINE), sink.lost] == [False, 1]
    sink.close()


def test_doctor_says_what_a_day_costs(tmp_path: Path) -> None:
    """From plain and compressed files: written, left out, and what all would be."""

    def line(hour: int, stands_for: int) -> bytes:
        found = {
            "event": "request.done",
            "route": "/a",
            "stands_for": stands_for,
            "timestamp": f"2026-03-01T{hour:02}:00:00Z",
        }
        return json.dumps(found).ljust(199).encode() + b"\n"

    (tmp_path / "requests.1.20260225T061320Z-1.jsonl.gz").write_bytes(gzip.compress(line(0, 1)))
    (tmp_path / "requests.1.jsonl").write_bytes(line(12, 9) + b"not ours\n" + b'{"half')
    ran = CliRunner().invoke(cli, ["doctor", "logs", str(tmp_path), "--price", "1000000", "--json"])
    found = json.loads(ran.stdout)
    assert (found["days"], found["unreadable_lines"]) == (0.5, 1)
    (route,) = found["routes"]
    assert route == {
        "route": "/a", "requests_per_day": 20, "lines_per_day": 4, "left_out_per_day": 16, "bytes_per_day": 800,
        "bytes_per_day_if_all": 4000, "cost_per_day": pytest.approx(0.8),
    }  # fmt: skip


def test_doctor_counts_what_damaged_files_still_hold(tmp_path: Path) -> None:
    """One that was cut off, one that is no archive, lines of another make: named, and no reason to say nothing."""
    whole = gzip.compress(LINE * 500 + random.Random(1).randbytes(4096))
    (tmp_path / "requests.1.20260225T061320Z-1.jsonl.gz").write_bytes(whole[:-2000])
    (tmp_path / "requests.1.20260225T061320Z-2.jsonl.gz").write_bytes(whole[:40] + b"\0" * 60 + whole[100:])
    (tmp_path / "requests.1.20260225T061320Z-3.jsonl.gz").write_bytes(b"no archive")
    odd = [
        {"event": 5},
        {"event": "request.done", "stands_for": 10**400},
        {"event": "other", "timestamp": "2026-02-25"},
    ]
    lines = [json.dumps({"timestamp": "2026-02-25T06:13:20", **one}).encode() + b"\n" for one in odd]
    (tmp_path / "requests.1.jsonl").write_bytes(LINE * 3 + b"".join(lines))
    ran = CliRunner().invoke(cli, ["doctor", "logs", str(tmp_path), "--json"])
    found = json.loads(ran.stdout)
    assert (ran.exit_code, found["unreadable_lines"] >= 2) == (0, True)
    assert sorted(found["broken_files"]) == [f"requests.1.20260225T061320Z-{each}.jsonl.gz" for each in (1, 2, 3)]
    told = CliRunner().invoke(cli, ["doctor", "logs", str(tmp_path)]).stdout
    assert told.count("can't be read to its end") == 3
    (tmp_path / "requests.1.jsonl").unlink()
    (tmp_path / "requests.1.20260225T061320Z-1.jsonl.gz").unlink()
    ran = CliRunner().invoke(cli, ["doctor", "logs", str(tmp_path)])
    assert (ran.exit_code, "can't be read: " in ran.output) == (2, True)


def test_doctor_names_a_folder_without_logs(tmp_path: Path) -> None:
    """And what to name instead."""
    ran = CliRunner().invoke(cli, ["doctor", "logs", str(tmp_path)])
    assert ran.exit_code == 2
    assert "TOCSIN_APP_LOG_FOLDER" in ran.output
