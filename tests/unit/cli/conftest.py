"""A folder with a configuration, a runner that stands in it, and a state store with the daemon's part of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import dedent

import pytest
from click.testing import CliRunner, Result

from tocsin.cli import cli
from tocsin.incidents import Book, Destination, Outcome, Plan, react
from tocsin.incidents.matching import parse_matcher
from tocsin.incidents.routes import Route, Router
from tocsin.incidents.told import Hidden
from tocsin.model import Alert, Silence, Transition
from tocsin.state import Change, State
from tocsin.state.inbox import Inbox
from tocsin.testing.empty_store import empty_store
from tocsin.testing.notifications import an_alert

Run = Callable[..., Result]

NOW = datetime.now(UTC).replace(microsecond=0)
PLAN = Plan(
    router=Router([Route(name="pages", notify=("log",), group_by=("service",))]),
    destinations={"log": Destination(name="log")},
)
FIRING = an_alert(active_at=NOW - timedelta(minutes=5), fired_at=NOW - timedelta(minutes=5))

CONFIG = """
    routes:
      - {match: {severity: "P0|P1"}, notify: [log]}
      - {match: {severity: "P2|P3"}, digest: daily, notify: [log]}
    notifiers:
      - {kind: console, name: log}
    collectors:
      - {kind: endpoint, name: web, targets: [{url: "http://127.0.0.1:1/", name: app}]}
    rules: [rules.yaml]
"""
RULES = """
    groups:
      - name: web
        rules:
          - alert: Down
            expr: tocsin_endpoint_up == 0
            labels: {severity: P0}
            annotations: {summary: it is down, runbook_url: "https://docs.example/runbooks/Down"}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: config.yaml, a rule, its runbook and no dashboards; no TOCSIN_… variables."""
    monkeypatch.chdir(tmp_path)
    for name in ("TOCSIN_CONFIG", "TOCSIN_TOKEN", "TOCSIN_URL", "TOCSIN_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "config.yaml").write_text(dedent(CONFIG).lstrip())
    (tmp_path / "rules.yaml").write_text(dedent(RULES).lstrip())
    (tmp_path / "runbooks").mkdir()
    (tmp_path / "runbooks" / "Down.md").write_text("# Down\n")
    (tmp_path / "dashboards").mkdir()
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    """Runs `tocsin` with these arguments in the folder."""
    return lambda *args, **options: CliRunner().invoke(cli, args, prog_name="tocsin", **options)


class Store:
    """The folder's state store, and the daemon's part of it."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder}/tocsin.db"
        (folder / "tocsin.db").write_bytes(empty_store())

    def holds(self, *alerts: Alert) -> str:
        """Stores these alerts, and the incident they make → its id."""

        async def fill() -> str:
            state = await State.open(self.url)
            outcome = react(Book(plan=PLAN), [Transition(alert=alert, before=None, at=NOW) for alert in alerts], NOW)
            await state.commit(Change.of(outcome, alerts))
            await state.close()
            return next(iter(outcome.book.files), "")

        return asyncio.run(fill())

    def gives_up(self, why: str) -> None:
        """The one message that waits is a dead letter."""

        async def give_up() -> None:
            state = await State.open(self.url)
            (claim,) = await state.outbox.claim_due("log", datetime.now(UTC), owner="me", lease=60)
            await state.outbox.give_up(claim, why, datetime.now(UTC))
            await state.close()

        asyncio.run(give_up())

    def hides(self, silence: str, incident: str, *, told: bool) -> None:
        """A silence that holds, and hid the incident."""
        ends = datetime.now(UTC) + timedelta(hours=1)
        made = Silence(
            id=silence, matchers=(parse_matcher("service=checkout-api"),), starts_at=NOW, ends_at=ends,
            created_by="ana", why="deploy",
        )  # fmt: skip
        hidden = Hidden(silence=silence, incident=incident, notifier="slack", at=NOW, told_at=NOW if told else None)

        async def fill() -> None:
            state = await State.open(self.url)
            await state.commit(Change(silences=(made,), hidden=(hidden,)))
            await state.close()

        asyncio.run(fill())

    def serve_until(self, enough: threading.Event) -> None:
        """What the daemon does with requests."""

        async def serve() -> None:
            state = await State.open(self.url)
            restored = await state.load(NOW)
            book = restored.book(PLAN, NOW)

            async def act(action: Callable[[Book, datetime], Outcome]) -> Outcome:
                nonlocal book
                outcome = action(book, datetime.now(UTC))
                await state.commit(Change.of(outcome))
                book = outcome.book
                return outcome

            while not enough.is_set():
                await Inbox(state).serve(act, datetime.now(UTC))
                await asyncio.sleep(0.02)
            await state.close()

        asyncio.run(serve())


@pytest.fixture
def store(folder: Path) -> Store:
    return Store(folder)


@pytest.fixture
def incident(store: Store) -> str:
    """The id of the one incident that is open."""
    return store.holds(FIRING)


@pytest.fixture
def daemon(store: Store, incident: str) -> Iterator[None]:
    """Answers requests while the test runs."""
    enough = threading.Event()
    thread = threading.Thread(target=store.serve_until, args=(enough,))
    thread.start()
    yield
    enough.set()
    thread.join(timeout=30)
