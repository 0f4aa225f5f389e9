"""An admin's browser on the console's pages, and something hostile for them to show."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tocsin.access.tokens import Scope
from tocsin.state.allowlist import AllowlistTable
from tocsin.web.entrance import Entrance
from tocsin.web.server import application

from .door import Browser, config_of

HOSTILE = "<script>alert(1)</script>\"'{{ 7*7 }}"


@dataclass
class Admin(Browser):
    """A browser that a one-time link has let in."""

    port: Any = field(kw_only=True)

    @property
    def listed(self) -> AllowlistTable:
        return AllowlistTable(self.port.state)

    async def page(self, target: str = "/") -> str:
        """The HTML of a page that must be there."""
        answer = await self.ask("GET", target, {"Accept": "text/html"})
        assert answer.status == 200, (target, answer.status, answer.content)
        return answer.content.decode()


@pytest.fixture
async def admin(port: Any, tmp_path: Path) -> AsyncIterator[Admin]:
    """Signed in."""
    entrance = await Entrance.of(config_of(tmp_path), port.state, port.clock)
    entrance.address = "127.0.0.1:9475"
    folder = tmp_path / "runbooks"
    folder.mkdir()
    (folder / "ApiDown.md").write_text(f"# ApiDown\n\n{HOSTILE}\n")
    (tmp_path / "secret.md").write_text("not a runbook")
    inside = replace(port.inside, entrance=entrance, runbooks=lambda: folder)
    found = Admin(application(inside), port=port)
    link = urlsplit(await entrance.one_time_link())
    target = f"{link.path}?{link.query}"
    await found.submit("/login/link", target, code=parse_qs(link.query)["code"][0])
    yield found
    await entrance.close()


async def fires(port: Any, name: str = "ApiDown", **labels: str) -> str:
    """An alert comes in; → its incident's id."""
    every = {"alertname": name, "severity": "P0", "service": "api", **labels}
    end = port.clock.now() + timedelta(hours=1)
    body = [{"labels": every, "annotations": {"summary": f"{HOSTILE} is down"}, "endsAt": end.isoformat()}]
    assert (await port.ask("POST", "/api/v2/alerts", Scope.ALERTS_WRITE, json=body)).status == 200
    return str(port.pipeline.book.open[0].id)


class Tags(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.starts: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.starts.append((tag, dict(attrs)))
