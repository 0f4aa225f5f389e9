"""A console to look at: a daemon and the stand-in Supabase Auth as processes, with people who may sign in.

    with console_site(folder) as site:
        site.fires("ApiDown", "P0", "api answers nothing", service="api")
        site.address                     # http://127.0.0.1:PORT, where ana@example.com signs in with PASSWORD

`chrome(playwright)` starts Debian's Chromium, which asks nobody but the site for anything.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tocsin.access.allowlist import Put, Role, entry_of
from tocsin.access.tokens import Scope, mint
from tocsin.state import State
from tocsin.state.allowlist import AllowlistTable
from tocsin.testing.peers import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

PASSWORD: Final = "correct horse"
PEOPLE: Final = {"ana@example.com": Role.ADMIN, "oli@example.com": Role.OPERATOR, "vic@example.com": Role.VIEWER}
"""Who may sign in, and as what."""
_PATIENCE: Final = 30.0
_CONFIG: Final = """
routes: [{notify: [log], group_by: [alertname, service]}]
notifiers: [{kind: console, name: log}]
rules: []
state: {url: 'sqlite:///state.db'}
telemetry: {log_format: json}
web:
  listen: 127.0.0.1:0
  supabase: {url: "%s", api_key_env: KEY}
"""


@dataclass(frozen=True)
class ConsoleSite:
    """A daemon that runs."""

    folder: Path
    address: str
    """http://HOST:PORT"""
    token: str
    """A service token that may do everything."""

    def fires(self, alert: str, severity: str, summary: str, **labels: str) -> None:
        """An alert comes in by Alertmanager's API, for an hour."""
        now = datetime.now(UTC)
        body = [
            {
                "labels": {"alertname": alert, "severity": severity, **labels},
                "annotations": {"summary": summary},
                "startsAt": now.isoformat(),
                "endsAt": (now + timedelta(hours=1)).isoformat(),
            }
        ]
        request = urllib.request.Request(
            f"{self.address}/api/v2/alerts", json.dumps(body).encode(),
            {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=_PATIENCE):
            """It is taken: urlopen raises for anything but 2xx."""


@contextmanager
def console_site(folder: Path) -> Iterator[ConsoleSite]:
    """Starts both processes, and ends them."""
    with ExitStack() as stack:
        users = [part for email in PEOPLE for part in ("--user", f"{email}={PASSWORD}")]
        auth = _started(stack, folder, dict(os.environ), "tocsin.testing.supabase", *users)
        env = {**os.environ, "KEY": auth["api_key"]}
        (folder / "config.yaml").write_text(_CONFIG % auth["address"])
        # A thread of its own: whoever drives a browser has a loop running in this one.
        token = stack.enter_context(ThreadPoolExecutor(1)).submit(asyncio.run, _prepare(folder / "state.db")).result()
        daemon = _started(stack, folder, env, "tocsin", "run")
        yield ConsoleSite(folder, f"http://{daemon['address']}", token)


async def _prepare(file: Path) -> str:
    """Puts the people on the list → a service token that may do everything."""
    now = datetime.now(UTC)
    token, row = mint((Scope.ADMIN,), now, note="tests")
    state = await State.open(f"sqlite:///{file}")
    try:
        entries = [entry_of(email, now, by="setup", role=role) for email, role in PEOPLE.items()]
        await AllowlistTable(state).change(Put(tuple(entries)), "setup", now)
        await state.tokens.put(row)
    finally:
        await state.close()
    return token


def _started(stack: ExitStack, folder: Path, env: dict[str, str], module: str, *arguments: str) -> dict[str, str]:
    """What the process says in its first line. Raises ValueError with its log when it says nothing."""
    log = folder / f"{module}.log"
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], cwd=folder, env=env, stdout=subprocess.PIPE,
        stderr=stack.enter_context(log.open("wb")),
    )  # fmt: skip
    assert process.stdout is not None
    stack.callback(process.stdout.close)
    stack.callback(process.wait, _PATIENCE)
    stack.callback(process.terminate)
    line = process.stdout.readline()
    if not line:
        raise ValueError(f"{module} did not start: {log.read_text()}")
    hello: dict[str, str] = json.loads(line)
    return hello


def chrome(playwright: Playwright) -> Browser:
    """Debian's Chromium, without a window. Raises PeerMissing where it can't be had."""
    path, env = chromium()
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]
    # No sandbox: in a container there is seldom the right to make one, and it shows pages of ours only.
    return playwright.chromium.launch(executable_path=path, env={**env}, args=["--no-sandbox", *quiet])
