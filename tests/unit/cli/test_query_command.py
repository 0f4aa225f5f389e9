"""`tocsin query`: answers as tables or JSON, errors with what to do."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from click.testing import Result

from tocsin.model import Labels, Sample
from tocsin.series import Store

Run = Callable[..., Result]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    """A store in the folder `series`, open: as while a daemon runs."""
    opened = Store.open(folder / "series")
    for job in ("a", "b"):
        for step in range(10):
            at = NOW - timedelta(seconds=15 * (9 - step))
            opened.append([Sample(name="up", labels=Labels(job=job), value=float(step), at=at)])
    opened.flush()
    yield opened
    opened.close()


class Daemon:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self, status: int, answer: Any) -> None:
        self.asked: list[tuple[str, dict[str, list[str]], str | None]] = []
        daemon = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                daemon.asked.append((self.path, form, self.headers.get("Authorization")))
                body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()


@pytest.fixture
def daemon() -> Iterator[Callable[..., Daemon]]:
    started: list[Daemon] = []

    def start(status: int, answer: Any) -> Daemon:
        started.append(Daemon(status, answer))
        return started[-1]

    yield start
    for each in started:
        each.server.shutdown()
        each.server.server_close()
        each.thread.join()


def test_a_store_in_use_can_be_read(run: Run, store: Store) -> None:
    """Without its lock, as of its newest sample."""
    done = run("query", "up", "--store", "series")
    assert done.stdout.split() == ["SERIES", "VALUE", 'up{job="a"}', "9", 'up{job="b"}', "9"]
    assert (done.exit_code, done.stderr) == (0, "as of the newest sample, 2026-03-01 12:00:00Z\n")


def test_reading_leaves_the_store_as_it_was(run: Run, store: Store, folder: Path) -> None:
    """The daemon goes on writing to the same file."""
    before = sorted(path.name for path in (folder / "series").rglob("*"))
    run("query", "up", "--store", "series")
    store.append([Sample(name="up", labels=Labels(job="a"), value=42.0, at=NOW + timedelta(seconds=15))])
    store.flush()
    after = run("query", 'up{job="a"}', "--store", "series")
    assert (sorted(path.name for path in (folder / "series").rglob("*")), after.stdout.split()[-1]) == (before, "42")


def test_a_range_of_one_series_lists_its_samples(run: Run, store: Store) -> None:
    """Time and value, in UTC."""
    done = run("query", "sum(up)", "--store", "series", "--range", "30s", "--step", "15s")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["{}"], ["TIME", "VALUE"], ["2026-03-01", "11:59:30Z", "14"], ["2026-03-01", "11:59:45Z", "16"],
        ["2026-03-01", "12:00:00Z", "18"],
    ]  # fmt: skip


def test_a_range_of_several_series_is_summed_up(run: Run, store: Store) -> None:
    """A line each, with its trend."""
    done = run("query", "up", "--store", "series", "--range", "2m", "--at", "2026-03-01T12:00:00Z")
    rows = [line.split() for line in done.stdout.splitlines()[2:]]
    assert [row[:4] for row in rows] == [['up{job="a"}', "1", "9", "9"], ['up{job="b"}', "1", "9", "9"]]
    assert {row[4][0] + row[4][-1] for row in rows} == {"▁█"}


def test_json_is_the_apis_data(run: Run, store: Store) -> None:
    """For scripts."""
    done = run("query", "1+1", "--at", "4", "--store", "series", "--json")
    assert json.loads(done.stdout) == {"resultType": "scalar", "result": [4, "2"]}


def test_nothing_found_is_a_sentence(run: Run, store: Store) -> None:
    """Not an empty screen."""
    assert "no series" in run("query", "nope", "--store", "series").stdout


@pytest.mark.parametrize(
    ("expr", "caret"), [("sum(up", 6), ("up +\n  rate(up)", 7), ("up{job=}", 7)], ids=["end", "line2", "value"]
)
def test_a_wrong_expression_is_shown_where(run: Run, folder: Path, expr: str, caret: int) -> None:
    """With a caret below it, and exit code 2. No daemon is asked."""
    done = run("query", expr)
    shown = done.stderr.splitlines()
    assert (done.exit_code, shown[-1].index("^") - 2) == (2, caret)
    assert shown[-2].strip() in expr


def test_a_folder_that_is_no_store(run: Run, folder: Path) -> None:
    """It says that there is none."""
    done = run("query", "up", "--store", "nope")
    assert (done.exit_code, "no series store at nope" in done.stderr) == (1, True)


def test_the_daemon_is_asked_with_the_token(run: Run, daemon: Callable[..., Daemon], folder: Path) -> None:
    """By POST, at the time that is meant."""
    found = {"status": "success", "data": {"resultType": "vector", "result": []}, "warnings": ["careful"]}
    far = daemon(200, found)
    done = run("query", "up", "--at", "4", "--url", far.url, env={"TOCSIN_TOKEN": "t"})
    assert far.asked == [("/api/v1/query", {"query": ["up"], "time": ["4.000"]}, "Bearer t")]
    assert (done.exit_code, done.stderr) == (0, "careful\n")


def test_a_range_asks_for_a_sixtieth(run: Run, daemon: Callable[..., Daemon], folder: Path) -> None:
    """Without --step."""
    far = daemon(200, {"status": "success", "data": {"resultType": "matrix", "result": []}})
    run("query", "up", "--at", "7200", "--range", "1h", "--url", far.url)
    assert far.asked[0][:2] == (
        "/api/v1/query_range",
        {"query": ["up"], "start": ["3600.000"], "end": ["7200.000"], "step": ["60.0"]},
    )


@pytest.mark.parametrize(
    ("status", "answer", "code", "says"),
    [
        (401, {"detail": "who?"}, 1, "tocsin token create --scope query:read"),
        (403, {"detail": "This token lacks the scope query:read."}, 1, "lacks the scope query:read"),
        (400, {"status": "error", "errorType": "bad_data", "error": "no such time"}, 2, "no such time"),
        (422, {"status": "error", "errorType": "execution", "error": "many-to-many"}, 1, "many-to-many"),
        (502, b"<html>bad gateway", 1, "bad gateway"),
        (200, b"<html>hello", 1, "is no Tocsin"),
    ],
)
def test_what_the_daemon_says_is_passed_on(
    run: Run, daemon: Callable[..., Daemon], folder: Path, status: int, answer: Any, code: int, says: str
) -> None:
    """With what to do where that is known."""
    done = run("query", "up", "--url", daemon(status, answer).url)
    assert (done.exit_code, says in done.stderr) == (code, True)


def test_no_daemon(run: Run, folder: Path) -> None:
    """How to get one, and how to do without."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        done = run("query", "up", "--url", f"http://127.0.0.1:{chosen.getsockname()[1]}")
    assert (done.exit_code, "tocsin run" in done.stderr, "--store" in done.stderr) == (1, True, True)


def test_step_without_a_range(run: Run, folder: Path) -> None:
    """Exit code 2."""
    assert run("query", "up", "--step", "5s").exit_code == 2
