"""Several processes that serve one application: their series are one, their lines are all there, nobody hangs.

Real processes: uvicorn's own workers, which start anew, and a server that forks after the application was made and has
written its first line, as gunicorn does with --preload.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TOKEN = "a token for the scraper"
APP = """
import asyncio, os
from tocsin.asgi import protect

async def app(scope, receive, send):
    scope["tocsin.route"] = "/who"
    if scope["path"] == "/slow":
        await asyncio.sleep(600)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d" % os.getpid()})

application = protect(app, time_limit=600)
"""
FORKS = """
import os, signal, socket, sys
import uvicorn
from made import application

application.parts.lines.info("app.made")  # the parent's writer runs before the fork
bound = socket.create_server(("127.0.0.1", 0))
children = []
for _ in range(2):
    child = os.fork()
    if not child:
        uvicorn.run(application, fd=bound.fileno(), log_config=None, access_log=False, timeout_graceful_shutdown=1)
        os._exit(0)
    children.append(child)


def stop(*_):
    for child in children:
        if child not in ended:
            os.kill(child, signal.SIGTERM)


ended = set()
signal.signal(signal.SIGTERM, stop)
print(f"http://127.0.0.1:{bound.getsockname()[1]}", file=sys.stderr, flush=True)
while len(ended) < 2:
    ended.add(os.wait()[0])
application.parts.lines.close()
"""
COMMANDS = {
    "uvicorn": ["-m", "uvicorn", "made:application", "--workers", "2", "--port", "0", "--no-access-log"],
    "forks": ["forks.py"],
}


class Served:
    """Processes that run, and what they have answered."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.asked = 0

    def ask(self, path: str, **headers: str) -> bytes:
        """On a connection of its own, which whoever is quicker takes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path, headers=headers)
            return connection.getresponse().read()
        finally:
            connection.close()

    def both(self) -> list[int]:
        """The process ids, once both have answered."""
        found: set[int] = set()
        deadline = time.monotonic() + 60
        while len(found) < 2:
            assert time.monotonic() < deadline
            try:
                found.add(int(self.ask("/who")))
            except ConnectionRefusedError:  # uvicorn names the port before anybody listens
                time.sleep(0.05)
                continue
            self.asked += 1
        return sorted(found)

    def value(self, name: str) -> float:
        """The sum of a series' samples, as a scraper sees it."""
        text = self.ask("/metrics", Authorization=f"Bearer {TOKEN}").decode()
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if re.match(rf"{name}[{{ ]", line))

    def lines(self) -> dict[int, list[dict[str, Any]]]:
        """Of each process."""
        return {
            int(path.name.split(".")[1]): [json.loads(line) for line in path.read_text().splitlines()]
            for path in self.folder.glob("requests.*.jsonl")
        }


@contextlib.contextmanager
def serving(how: str, tmp_path: Path) -> Iterator[Served]:
    """Until it has ended by SIGTERM."""
    (tmp_path / "made.py").write_text(APP)
    (tmp_path / "forks.py").write_text(FORKS)
    (tmp_path / "series").mkdir()
    environment = {
        "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}",
        "PATH": os.environ.get("PATH", ""),
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "series"),
        "TOCSIN_APP_SUPABASE_URL": "off",
        "TOCSIN_APP_METRICS_TOKEN": TOKEN,
        "TOCSIN_APP_LOG_FOLDER": str(tmp_path / "log"),
        "TOCSIN_APP_LOG_SHARE": "1",
    }
    told = tmp_path / "stderr"
    with told.open("w") as stream:
        ran = subprocess.Popen(
            [sys.executable, *COMMANDS[how]], cwd=tmp_path, env=environment, stderr=stream, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)", told.read_text())):
            assert (ran.poll(), time.monotonic() < deadline) == (None, True), told.read_text()
            time.sleep(0.02)
        yield Served(tmp_path / "log", int(found[1]))
        ran.terminate()
        ran.wait(60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(ran.pid, signal.SIGKILL)  # whatever went wrong, and its children
        ran.wait(60)
    assert "Traceback" not in told.read_text()


@pytest.mark.parametrize("how", list(COMMANDS))
def test_two_processes_are_one_application(how: str, tmp_path: Path) -> None:
    """A scrape of either has the requests of both; each has its log file, and no id is used twice."""
    with serving(how, tmp_path) as served:
        pids = served.both()
        for _ in range(20):
            served.ask("/who")
        assert served.value("tocsin_http_requests_total") == served.asked + 20
        assert served.value("tocsin_http_request_duration_seconds_count") == served.asked + 20
    lines = served.lines()
    done = [line for pid in pids for line in lines[pid] if line["event"] == "request.done"]
    assert len(done) == served.asked + 20
    assert len({line["request_id"] for line in done}) == len(done)
    made = [pid for pid, found in lines.items() for line in found if line["event"] == "app.made"]
    assert len(made) == (how == "forks")


QUIET = """
import os, sys
from pathlib import Path
from tocsin.asgi.logs.files import Files
from tocsin.asgi.logs.writer import FileSink

sink = FileSink(Files(Path(sys.argv[1])))  # no line before the fork: the ordinary case of gunicorn --preload
children = []
for _ in range(2):
    child = os.fork()
    if not child:
        sink.put(b"%d" % os.getpid())
        sink.close()
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
"""


def test_a_log_made_before_a_fork_is_written_to_a_file_of_each_child(tmp_path: Path) -> None:
    """Though nothing was written before: in a shared one, what a child writes is lost when another turns it."""
    subprocess.run([sys.executable, "-c", QUIET, str(tmp_path)], check=True, timeout=60)
    found: dict[str, str] = {}
    for path in tmp_path.glob("requests.*"):  # who came second has packed what the first, already gone, left
        data = path.read_bytes()
        found[path.name.split(".")[1]] = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    assert len(found) == 2
    assert {pid: f"{pid}\n" for pid in found} == found


def test_a_worker_that_was_killed_leaves_nothing_in_flight(tmp_path: Path) -> None:
    """Its requests are over, and what it counted stays."""
    with serving("forks", tmp_path) as served:
        served.both()
        slow = threading.Thread(target=_until_it_breaks, args=(served,))
        slow.start()
        deadline = time.monotonic() + 120
        while served.value("tocsin_http_requests_in_flight") != 1:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        busy = _who_is_busy(tmp_path / "series")
        os.kill(busy, signal.SIGKILL)
        slow.join(60)
        while served.value("tocsin_http_requests_in_flight") != 0:  # it is there until its parent has taken note
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert served.value("tocsin_http_requests_total") == served.asked


def _until_it_breaks(served: Served) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        served.ask("/slow")


def _who_is_busy(folder: Path) -> int:
    """The process whose gauge in flight stands at 1, by prometheus_client's own file."""
    from prometheus_client.mmap_dict import MmapedDict

    for path in folder.glob("gauge_livesum_*.db"):
        for key, value, *_ in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
            if "in_flight" in key and value == 1:
                return int(path.stem.rpartition("_")[2])
    raise AssertionError("nobody is busy")
