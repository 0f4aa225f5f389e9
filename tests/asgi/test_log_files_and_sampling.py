"""The request log's counts, files and cost."""

from __future__ import annotations

import errno
import gzip
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from tests.asgi.alone import nothing, nowhere, scope
from tests.asgi.frameworks import Kept
from tocsin.asgi import Lines, RequestLog, Sampling
from tocsin.asgi.call import Call, Site
from tocsin.asgi.logs.files import Files, Keeping
from tocsin.asgi.logs.sampling import Sampler
from tocsin.asgi.logs.writer import FileSink
from tocsin.asgi.measures import measures_of
from tocsin.cli import cli
from tocsin.testing.waiting import eventually

AT = 1_772_000_000.0
LINE = b'{"event":"request.done","route":"/a","stands_for":1,"timestamp":"2026-02-25T06:13:20Z"}\n'


async def test_the_lines_stand_for_every_request() -> None:
    """Whatever the share: the sum over the lines is the number of requests, errors and all."""
    kept = Kept()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        status = 500 if scope["path"].endswith("7") else 200
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"12345"})

    log = RequestLog(
        app, measures=measures_of(CollectorRegistry()), lines=Lines(kept), sampling=Sampling(share=0.1, slow=3600)
    )
    for number in range(1000):
        await log(scope(f"/{number}"), nothing, nowhere)
    log.close()
    done, left = kept.of("request.done"), kept.of("request.left_out")
    assert sum(line["stands_for"] for line in (*done, *left)) == 1000
    assert sum(line["status"] == 500 for line in done) == 100
    assert 150 < len(done) < 260
    assert {line["bytes"] for line in done} == {5}


def test_slow_and_rare_requests_are_always_written() -> None:
    """And the first of a route in each minute; the rest only by its share, here none."""
    sampler = Sampler(Sampling(share=0.0, slow=1.0, at_least_every=60.0))

    def verdict(route: str, took: float, now: float) -> tuple[str, int]:
        return sampler.verdict(Call(Site(None), scope("/")), route, took, now)

    assert verdict("/a", 0.1, 0.0) == ("first", 1)
    assert [verdict("/a", 0.1, now) for now in (1.0, 2.0)] == [("", 0), ("", 0)]
    assert verdict("/a", 1.0, 3.0) == ("slow", 1)
    assert verdict("/b", 0.1, 4.0) == ("first", 1)
    assert verdict("/a", 0.1, 60.0) == ("first", 3)


def test_a_storm_of_errors_is_counted_in_the_lines_that_are_written() -> None:
    """Two a minute here: the next one's count has what was left out, and a calm route is not in it."""
    sampler = Sampler(Sampling(share=0.0, urgent_per_minute=2))

    def verdict(route: str, now: float) -> tuple[str, int]:
        call = Call(Site(None), scope("/"))
        call.status = 500
        return sampler.verdict(call, route, 0.1, now)

    said = [verdict("/a", now) for now in (0.0, 1.0, 2.0, 3.0, 60.0, 61.0, 62.0)]
    assert said == [("error", 1), ("error", 1), ("", 0), ("", 0), ("error", 3), ("error", 1), ("", 0)]
    assert verdict("/b", 62.0) == ("error", 1)
    assert sampler.leftovers() == [("/a", 500, "error", 1)]


@pytest.mark.parametrize("seed", range(4))
def test_the_counts_are_true_by_route_and_by_status(seed: int) -> None:
    """In storms and lulls: weighted by `stands_for`, the lines tell how many of each there were, and no error and no
    slow request is told as something else."""
    draw = random.Random(seed)
    sampler = Sampler(Sampling(share=draw.choice((0.0, 0.01, 0.3)), urgent_per_minute=5))
    truth: Counter[tuple[str, int, str]] = Counter()
    told: Counter[tuple[str, int, str]] = Counter()
    now, written = 0.0, 0
    for _ in range(4000):
        now += draw.choice((0.001, 0.01, 0.5, 61.0) if draw.random() < 0.01 else (0.001, 0.01))
        call = Call(Site(None), scope("/"))
        route, call.status = draw.choice("ab"), draw.choice((200, 200, 200, 404, 500, 503))
        took = draw.choice((0.1, 0.1, 2.0))
        kind = "error" if call.status >= 500 else "slow" if took >= 1 else ""
        truth[route, call.status, kind] += 1
        why, stands_for = sampler.verdict(call, route, took, now)
        written += bool(why)
        told[route, call.status, why if why in ("error", "slow") else ""] += stands_for
        if draw.random() < 0.001:
            told.update({(route, status, why): count for route, status, why, count in sampler.leftovers(now)})
    for route, status, why, count in sampler.leftovers():
        told[route, status, why] += count
    assert +told == truth
    assert written < 2000
    assert not sampler.open


async def test_what_was_left_out_of_a_quiet_route_is_told_in_time() -> None:
    """Without another request, and without an end: a day later it would be a peak that never was."""
    kept = Kept()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    log = RequestLog(
        app, measures=measures_of(CollectorRegistry()), lines=Lines(kept),
        sampling=Sampling(share=0.0, slow=3600, at_least_every=0.05),
    )  # fmt: skip
    for _ in range(50):
        await log(scope("/a"), nothing, nowhere)
    await eventually(lambda: sum(line["stands_for"] for line in kept.lines) == 50)
    assert {(line["route"], line["status"]) for line in kept.lines} == {("unmatched", 404)}
    log.close()
    assert sum(line["stands_for"] for line in kept.lines) == 50


def test_services_of_one_trace_write_the_same_requests() -> None:
    """The draw is by the trace id, so a trace is whole in every log or in none."""

    def drawn(trace: str) -> bool:
        sampler = Sampler(Sampling(share=0.5))
        headers = [(b"traceparent", f"00-{trace}-b7ad6b7169203331-00".encode())]
        sampler.verdict(Call(Site(None), scope("/")), "/a", 0.0, 0.0)
        return sampler.verdict(Call(Site(None), scope("/", headers=headers)), "/a", 0.0, 1.0)[0] == "share"

    traces = [f"{number:018x}{number * 0x9E3779B97F4A7C15 % 2**56:014x}" for number in range(1, 200)]
    first = [drawn(trace) for trace in traces]
    assert first == [drawn(trace) for trace in traces]
    assert 60 < sum(first) < 140


@pytest.mark.parametrize(
    "form",
    [lambda drawn: f"{drawn:032x}", lambda drawn: str(UUID(int=drawn, version=4)), "req-{}".format, "-{:014x}".format],
)
def test_a_share_of_requests_is_written_whatever_their_ids_look_like(form: Callable[[int], str]) -> None:
    """Of traces there is a test above; these have none."""
    dice, sampler = random.Random(7), Sampler(Sampling(share=0.5))
    ids = [form(dice.getrandbits(128)) for _ in range(400)]
    calls = [Call(Site(None), scope("/", headers=[(b"x-request-id", each.encode())])) for each in ids]
    kept = [each.request_id for each in calls if sampler.verdict(each, "/a", 0.0, 0.0)[0] == "share"]
    assert (set(kept) <= set(ids), 140 < len(kept) < 260) == (True, True)


def test_every_process_draws_the_same_of_ids_of_any_form() -> None:
    """Where a word's own hash would differ from one to the next."""
    program = (
        "from tests.asgi.alone import scope; from tocsin.asgi.call import Call, Site;"
        "from tocsin.asgi.logs.sampling import _drawn;"
        "print(_drawn(Call(Site(None), scope('/', headers=[(b'x-request-id', b'order-17')]))))"
    )
    drawn = [
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert drawn[0] == drawn[1]


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
