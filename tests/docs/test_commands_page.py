"""docs/commands.md: every example there is run, in its order, beside a daemon, and says what the page says."""

from __future__ import annotations

import http.server
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tests.content.pages import command_of, parses
from tocsin.cli import COMMANDS, cli

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r'^```yaml title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
PATIENCE = 60.0
NOT_HERE = (["demo"], ["allowlist", "install-hook"], ["doctor", "queries"])
"""Only read here: the demo is run as a whole by tests/e2e, the others need a Postgres, which their own tests have."""


@dataclass(frozen=True)
class Shown:
    """A command line of the page and the lines of its output that the page shows."""

    line: str
    output: tuple[str, ...]
    exit_code: int = 0

    @property
    def arguments(self) -> list[str]:
        return shlex.split(self.line)[1:]


def shown_on(page: str) -> list[Shown]:
    """Every command of the page, in its order."""
    found = []
    for block in BLOCK.findall(page):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, *output = [text for text in part.splitlines() if text.strip()]
            ends = int(output.pop()[6:-1]) if output and output[-1].startswith("[exit ") else 0
            found.append(Shown(line, tuple(output), ends))
    return found


def says(output: str, wanted: str) -> bool:
    """True when a line of `output` is `wanted`, `…` standing for anything and blanks for any number of them."""
    pattern = r"\s+".join(re.escape(word) for word in wanted.split()).replace("…", ".*")
    return any(re.search(pattern, line) for line in output.splitlines())


@dataclass
class World:
    """The page's folder, the daemon in it, and the names that the page leaves open."""

    folder: Path
    daemon: subprocess.Popen[str]
    announced: str
    names: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli, arguments, prog_name="tocsin")

    def listed(self, *arguments: str, within: float = PATIENCE) -> str:
        """The id of the first in a listing, once there is one."""
        ends = time.monotonic() + within
        while time.monotonic() < ends:
            found = json.loads(self.run(*arguments, "--json").stdout or "[]")
            if found:
                return str(found[0]["id"])
            time.sleep(0.05)
        raise AssertionError(f"`tocsin {' '.join(arguments)}` lists nothing")

    def filled(self, text: str) -> str:
        """`text` with the names that are known by now."""
        for name, value in self.names.items():
            text = text.replace(name, value)
        return text

    def stop(self) -> int:
        self.daemon.send_signal(signal.SIGTERM)
        return self.daemon.wait(timeout=PATIENCE)


@pytest.fixture
def page(root: Path) -> str:
    return (root / "docs" / "commands.md").read_text()


@pytest.fixture
def world(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The page's files in a folder, a daemon that runs there, and the folder as the current one."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("TOCSIN_")]:
        monkeypatch.delenv(name)
    for name, text in FILE.findall(page):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "runbooks").mkdir()
    (tmp_path / "runbooks" / "CheckoutDown.md").write_text("# CheckoutDown\n")
    with (tmp_path / "daemon.log").open("w") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "tocsin", "run"],
            stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, "TOCSIN_WEB__LISTEN": "127.0.0.1:0"},
        )  # fmt: skip
    try:
        assert daemon.stdout is not None
        announced = daemon.stdout.readline()
        assert announced, (tmp_path / "daemon.log").read_text()
        monkeypatch.setenv("TOCSIN_URL", f"http://{json.loads(announced)['address']}")
        world = World(tmp_path, daemon, announced)
        world.names["INCIDENT"] = world.listed("incidents", "list")
        yield world
    finally:
        daemon.kill()
        daemon.wait(timeout=PATIENCE)
        if daemon.stdout is not None:
            daemon.stdout.close()


@pytest.fixture
def grafana() -> Iterator[str]:
    """An address that answers as Grafana does when a dashboard is stored."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            known = self.headers["Authorization"] == "Bearer glsa_x" and self.path == "/api/dashboards/db"
            body = json.dumps({"url": f"/d/{asked['dashboard']['uid']}"}).encode()
            self.send_response(200 if known and asked["folderUid"] == "oncall" else 401)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Not on the tests' output."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_every_command_has_an_example(page: str) -> None:
    """Each command, and each of its own commands; and none that is not there."""
    shown = {
        " ".join(word for word in example.arguments[:2] if re.fullmatch("[a-z-]+", word)) for example in shown_on(page)
    }
    wanted: set[str] = set()
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        inner = list(command.commands) if isinstance(command, click.Group) else []
        wanted |= {f"{name} {each}" for each in inner} or {name}
    assert (
        sorted(name for name in wanted if not any(each == name or each.startswith(f"{name} ") for each in shown)) == []
    )
    assert {example.arguments[0] for example in shown_on(page)} == set(COMMANDS)


def test_every_example_does_what_the_page_shows(
    page: str, world: World, grafana: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the page, beside a daemon."""
    monkeypatch.setenv("GRAFANA_TOKEN", "glsa_x")
    world.names["GRAFANA"] = grafana
    for example in shown_on(page):
        arguments = [world.filled(word) for word in example.arguments]
        if arguments[:2] in NOT_HERE or arguments[:1] in NOT_HERE:
            parses(arguments)
            continue
        if arguments == ["run"]:
            assert says(world.announced, example.output[0])
            continue
        if arguments[:2] == ["state", "migrate"]:
            assert world.stop() == 0
        with monkeypatch.context() as patch:
            if arguments[:2] == ["dashboards", "build"]:
                patch.chdir(root)
            result = world.run(*patient(arguments))
        assert result.exit_code == example.exit_code, f"$ {example.line}\n{result.output}"
        learn(world, arguments, result)
        for wanted in example.output:
            assert says(result.output, world.filled(wanted)), f"$ {example.line}\n{wanted}\nis not in\n{result.output}"
        if arguments[:2] == ["token", "create"] and "--json" not in arguments:
            monkeypatch.setenv("TOCSIN_TOKEN", result.stdout.strip())


def patient(arguments: list[str]) -> list[str]:
    """On a busy machine the daemon's answer takes more than the five seconds that are enough elsewhere."""
    inner, _ = command_of(arguments)
    waits = inner is not None and any(option.name == "wait" for option in inner.params)
    return [*arguments, "--wait", f"{PATIENCE:g}s"] if waits and "--wait" not in arguments else arguments


def learn(world: World, arguments: list[str], result: Result) -> None:
    """The ids that later lines of the page name."""
    if arguments[:2] == ["token", "create"] and "--json" in arguments:
        world.names["TOKEN"] = json.loads(result.stdout)["id"]
    if arguments[:2] == ["silence", "add"]:
        found = re.search(r"\bs-[0-9a-f]+\b", result.stdout)
        assert found is not None, result.output
        world.names["SILENCE"] = found[0]
