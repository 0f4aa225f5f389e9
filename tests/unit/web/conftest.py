"""The port over a real pipeline, store and state, under a virtual clock and without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tocsin.access.tokens import Scope, mint
from tocsin.incidents import Book, Destination, Plan
from tocsin.incidents.routes import Route, Router
from tocsin.model import Labels, Metric, MetricType, Sample
from tocsin.rules import Group, load_rules
from tocsin.runtime.evaluation import RuleBook
from tocsin.runtime.external import ExternalAlerts
from tocsin.runtime.ledger import Ledger
from tocsin.runtime.pipeline import Parts, Pipeline
from tocsin.series import Store
from tocsin.series.remote.engine import Engine
from tocsin.state import State
from tocsin.telemetry.metrics import Telemetry
from tocsin.telemetry.tracing import Tracing
from tocsin.testing.asking import Answer, ask
from tocsin.testing.clock import VirtualClock
from tocsin.web.gate import Gate
from tocsin.web.inside import Inside
from tocsin.web.reading import Reader
from tocsin.web.server import application

from .door import console, lonely
from .pages import admin

__all__ = ["admin", "console", "lonely"]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DECLARED = [
    Metric(name="http_requests_total", type=MetricType.COUNTER, help="Requests <all>", labels=("code",)),
    Metric(name="temperature", type=MetricType.UNTYPED, help="Degrees", unit="celsius"),
]
PLAN = Plan(
    router=Router((Route(name="pages", match={"severity": "P0|P1"}, notify=("pages",), group_by=("service",)),),
                  fallback=Route(notify=("log",))),
    destinations={name: Destination(name=name) for name in ("pages", "log")},
)  # fmt: skip


@dataclass
class Port:
    """The port, and what is behind it."""

    clock: VirtualClock
    store: Store
    state: State
    pipeline: Pipeline
    reader: Reader
    app: Gate
    inside: Inside
    tokens: dict[str, str] = field(default_factory=dict)

    async def token(self, *scopes: Scope) -> str:
        """A valid token of these scopes."""
        key = " ".join(sorted(scopes))
        if key not in self.tokens:
            self.tokens[key], row = mint(scopes, self.clock.now(), note="tests")
            await self.state.tokens.put(row)
        return self.tokens[key]

    async def ask(self, method: str, target: str, scope: Scope = Scope.ADMIN, **more: Any) -> Answer:
        """A request with a token of that scope."""
        return await ask(self.app, method, target, token=await self.token(scope), **more)

    async def get(self, target: str, **more: Any) -> Any:
        """The JSON of an answer to GET."""
        return (await self.ask("GET", target, **more)).json()

    def holds(self, name: str, values: Iterable[float], *, step: float = 15.0, **labels: str) -> None:
        """Samples of one series, `step` seconds apart, the last of them now."""
        listed = list(values)
        begin = self.clock.now() - timedelta(seconds=step * (len(listed) - 1))
        for index, value in enumerate(listed):
            at = begin + timedelta(seconds=step * index)
            self.store.append([Sample(name=name, labels=Labels(labels), value=value, at=at)])


@pytest.fixture(scope="session")
def empty_state(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A migrated store, as bytes: migrating one for each test would take most of its time."""
    file = tmp_path_factory.mktemp("state") / "empty.db"

    async def migrate() -> None:
        await (await State.open(f"sqlite:///{file}", durable=False)).close()

    asyncio.run(migrate())
    return file.read_bytes()


def rules_of(folder: Path, text: str) -> tuple[Group, ...]:
    file = folder / "rules.yaml"
    file.write_text(text)
    return load_rules([file])


@pytest.fixture
async def port(tmp_path: Path, empty_state: bytes) -> AsyncIterator[Port]:
    """Nothing in it yet."""
    file = tmp_path / "state.db"
    file.write_bytes(empty_state)
    async with open_port(file) as opened:
        yield opened


@asynccontextmanager
async def open_port(
    file: Path, groups: tuple[Group, ...] = (), at: datetime = NOW, engine: Callable[[], Engine | None] = lambda: None
) -> AsyncIterator[Port]:
    clock, store, telemetry = VirtualClock(at), Store(), Telemetry()
    state = await State.open(f"sqlite:///{file}", durable=False)
    restored = await state.load(at)
    parts = Parts(
        store=store, ledger=Ledger(state, telemetry, wake=lambda: None), clock=clock, telemetry=telemetry,
        tracing=Tracing(),
    )  # fmt: skip
    book: Book = restored.book(PLAN, at)
    sent = [alert for alert in restored.alerts if ExternalAlerts.owns(alert)]
    ours = [alert for alert in restored.alerts if not ExternalAlerts.owns(alert)]
    pipeline = Pipeline(
        parts, book=book, rules=RuleBook(groups, ours), sources=[], external=ExternalAlerts(sent, clock.now())
    )
    await pipeline.begin()
    reader = Reader(pipeline.reading, clock)
    inside = Inside(
        clock=clock, telemetry=telemetry, pipeline=pipeline, state=state, reader=reader, declared=lambda: DECLARED,
        ready=lambda: "", started=clock.now(), engine=engine,
    )  # fmt: skip
    try:
        yield Port(clock, store, state, pipeline, reader, application(inside), inside)
    finally:
        reader.close()
        await state.close()
