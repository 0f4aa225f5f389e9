"""The stage: Postgres, the application, Supabase Auth, Slack and the daemon, up together and down together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import aiohttp

import tocsin
from tocsin.errors import TocsinError
from tocsin.tasks import end_tasks
from tocsin.testing.demo.journal import decided_after, errors_after
from tocsin.testing.demo.processes import Child, DemoError
from tocsin.testing.demo.settings import METRICS_TOKEN, POSTGRES_DSN, SLACK_TOKEN, Addresses, write_configuration
from tocsin.testing.demo.traffic import OFFICE, OUTSIDER, USERS, AuthClient, users_at_work
from tocsin.testing.postgres import EmbeddedPostgres
from tocsin.testing.slack import FakeSlack
from tocsin.testing.supabase.keys import SigningKey

CHECKOUT: Final = Path(tocsin.__file__).resolve().parents[1]
APPLICATION: Final = CHECKOUT / "examples" / "campaigns"
_START: Final = 30.0


@dataclass(kw_only=True)
class Stage:
    """What is running, and where. Made by `set_stage`."""

    folder: Path
    http: aiohttp.ClientSession
    slack: FakeSlack
    postgres: EmbeddedPostgres
    app: str
    """The application's address."""
    app_env: Mapping[str, str] = field(repr=False)
    """What it was told by its environment, less the faults: for a second server of it."""
    auth: AuthClient
    postgres_dsn: str = field(repr=False)
    """For whoever watches the database: a role that may look at everything and change nothing."""
    auth_log: Path
    children: tuple[Child, ...]
    faults_secret: str = field(repr=False)
    metrics_token: str = field(repr=False)
    """What the application shows its /metrics for."""
    config: Path
    web: str = ""
    """The daemon's address; empty on a stage that is set without it."""
    daemon: Child | None = None

    async def faults(self, method: str, path: str, body: dict[str, Any] | None = None) -> None:
        """Ask the application's fault wrapper. Raises DemoError when it does not do as asked."""
        url, headers = f"{self.app}/-/faults{path}", {"X-Faults-Secret": self.faults_secret}
        try:
            async with self.http.request(method, url, json=body, headers=headers) as response:
                if response.status != 204:
                    raise DemoError(f"the application refused the fault {path}: {response.status}")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise DemoError(f"the application did not take the fault {path}: {error}") from None

    async def until(self, holds: Callable[[], object], seconds: float) -> bool:
        """Wait until `holds()`, looked at after each change of the channel; False when time is up.

        Raises DemoError as soon as a process of the stage ends.
        """
        waiting = asyncio.ensure_future(self.slack.until(lambda: bool(holds()), seconds))
        endings = [asyncio.ensure_future(child.ended()) for child in self.children]
        try:
            await asyncio.wait({waiting, *endings}, return_when=asyncio.FIRST_COMPLETED)
            self.check()
            try:
                await waiting
            except TimeoutError:
                return False
            return True
        finally:
            await end_tasks(waiting, *endings)

    def check(self) -> None:
        """Raises DemoError when a process has ended."""
        for child in self.children:
            if not child.running:
                raise DemoError(f"{child.name} ended on its own. Its last lines ({child.log}):\n{child.tail()}")

    def decided_after(self, moment: datetime) -> datetime | None:
        """When the daemon first decided to post something after `moment`; None where it did not."""
        return None if self.daemon is None else decided_after(self.daemon.log, moment)

    def errors_after(self, moment: datetime) -> list[str]:
        """What the daemon has logged as an error since `moment`."""
        return [] if self.daemon is None else errors_after(self.daemon.log, moment)


@asynccontextmanager
async def set_stage(
    folder: Path | None = None,
    *,
    interval: str = "1s",
    traffic: bool = True,
    daemon: bool = True,
    app_arguments: Sequence[str] = (),
) -> AsyncIterator[Stage]:
    """Start everything; stop everything at the end. Takes a few seconds.

    `folder` gets the configuration, the state and the logs, and stays; None makes one that goes with the stage.
    `interval` is the time between polls, `app_arguments` are more of the application's own.
    Without `daemon` nobody watches: for a benchmark of somebody else.
    Raises DemoError, or PostgresUnavailable with what to install.
    """
    _require_application()
    async with AsyncExitStack() as stack:
        place = stack.enter_context(_folder(folder))
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)))
        slack = await stack.enter_async_context(FakeSlack(token=f"xoxb-{secrets.token_hex(12)}"))
        starting = _Starting(folder=place, stack=stack, http=http)
        auth_log = place / "auth.jsonl"
        secret, metrics_token = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
        auth, auth_child, postgres = await starting.auth_and_postgres(auth_log)
        app_env = starting.app_env(postgres, auth, metrics_token)
        app, app_child = await starting.app({"CAMPAIGNS_FAULTS": secret, **app_env}, *app_arguments)
        await auth.sign_in(*next(iter(USERS.items())), address=OFFICE)
        addresses = Addresses(
            app=app,
            slack=slack.base_url,
            auth_log=auth_log,
            user_token=auth.token,
            rules=APPLICATION / "rules",
        )
        config = write_configuration(place / "config.yaml", addresses, interval=interval)
        if traffic:
            await stack.enter_async_context(users_at_work(http, app, auth))
        stage = Stage(
            folder=place,
            http=http,
            slack=slack,
            postgres=postgres,
            app=app,
            app_env=app_env,
            auth=auth,
            postgres_dsn=postgres.dsn("campaigns", "tocsin"),
            auth_log=auth_log,
            children=(app_child, auth_child),
            faults_secret=secret,
            metrics_token=metrics_token,
            config=config,
        )
        if daemon:
            env = {POSTGRES_DSN: stage.postgres_dsn, SLACK_TOKEN: slack.token, METRICS_TOKEN: metrics_token}
            stage.daemon, stage.web = await starting.daemon(config, env)
            stage.children = (stage.daemon, *stage.children)
            # Its port is known now: messages link to the console.
            write_configuration(config, addresses, interval=interval, console=stage.web)
            stage.daemon.reload()
            await stage.daemon.logged("config.reloaded", _START)
        yield stage


@dataclass(kw_only=True)
class _Starting:
    """How each part is started; `stack` stops them in the opposite order."""

    folder: Path
    stack: AsyncExitStack
    http: aiohttp.ClientSession

    async def child(self, name: str, *arguments: str, env: dict[str, str] | None = None) -> Child:
        found = os.environ.get("PYTHONPATH", "")
        path = os.pathsep.join(part for part in (str(CHECKOUT), found) if part)
        child = await Child.start(
            name, [sys.executable, *arguments], folder=self.folder, env={"PYTHONPATH": path, **(env or {})}
        )
        self.stack.push_async_callback(child.stop)
        return child

    async def auth_and_postgres(self, log: Path) -> tuple[AuthClient, Child, EmbeddedPostgres]:
        """Together, as neither needs the other."""
        try:
            async with asyncio.TaskGroup() as group:
                authing = group.create_task(self.auth(log))
                raising = group.create_task(self.postgres())
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return (*authing.result(), raising.result())

    async def auth(self, log: Path) -> tuple[AuthClient, Child]:
        known = (*USERS.items(), OUTSIDER)
        users = [argument for email, password in known for argument in ("--user", f"{email}={password}")]
        key = self.folder / "signing.pem"
        SigningKey.fresh().keep(key)
        child = await self.child(
            "auth", "-m", "tocsin.testing.supabase", "--log", str(log), "--signing-key", str(key), *users
        )  # fmt: skip
        hello = await child.said(_START)
        token = self.folder / "user.token"
        client = AuthClient(
            http=self.http, url=hello["url"], api_key=hello["api_key"], token=token, signing_key=key
        )  # fmt: skip
        return client, child

    async def postgres(self) -> EmbeddedPostgres:
        postgres = await asyncio.to_thread(EmbeddedPostgres.start)
        self.stack.push_async_callback(asyncio.to_thread, postgres.close)
        await asyncio.to_thread(_furnish, postgres)
        return postgres

    def app_env(self, postgres: EmbeddedPostgres, auth: AuthClient, metrics_token: str) -> dict[str, str]:
        """What the application is told. The demo's users may come in, and nobody else."""
        allowlist = self.folder / "allowlist.csv"
        allowlist.write_text("value,effect\n" + "".join(f"{email},allow\n" for email in USERS))
        return {
            "DATABASE_URL": postgres.dsn("campaigns", "campaigns"),
            "TOCSIN_APP_SUPABASE_URL": auth.url.removesuffix("/auth/v1"),
            "TOCSIN_APP_ALLOWLIST": str(allowlist),
            "TOCSIN_APP_METRICS_TOKEN": metrics_token,
        }

    async def app(self, env: dict[str, str], *arguments: str) -> tuple[str, Child]:
        child = await self.child(
            "app", *("-m", "examples.campaigns", "--port", "0", "--prepare", "--seed"), *arguments, env=env
        )
        hello = await child.said(_START, event="campaigns.listening")
        return hello["address"], child

    async def daemon(self, config: Path, env: dict[str, str]) -> tuple[Child, str]:
        child = await self.child("tocsin", "-m", "tocsin", "run", "--config", str(config), env=env)
        hello = await child.said(_START, event="web.listening")
        web = f"http://{hello['address']}"
        await self._ready(child, web)
        return child, web

    async def _ready(self, child: Child, web: str) -> None:
        """Until the daemon says that it does its work."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START):
                while child.running:
                    with contextlib.suppress(aiohttp.ClientError):
                        async with self.http.get(web + "/readyz") as response:
                            if response.status == 200:
                                return
                    await asyncio.sleep(0.05)
        raise DemoError(f"the daemon is not ready. Its last lines ({child.log}):\n{child.tail()}")


def _require_application() -> None:
    if not (APPLICATION / "__main__.py").exists():
        raise DemoError(
            f"the demo runs the example application, and {APPLICATION} is not there: an installed package leaves it "
            "out. Clone the repository and run `make demo` in it"
        )


def _furnish(postgres: EmbeddedPostgres) -> None:
    """The application's database with a role of its own, and a role that may only look."""
    postgres.create_role("campaigns")
    postgres.create_role("tocsin", "pg_monitor")
    postgres.execute("create database campaigns owner campaigns")
    with contextlib.suppress(TocsinError):
        postgres.execute("create extension if not exists pg_stat_statements", dbname="campaigns")


@contextmanager
def _folder(wanted: Path | None) -> Iterator[Path]:
    if wanted is not None:
        try:
            wanted.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DemoError(f"can't use {wanted}: {error}") from None
        yield wanted.resolve()
        return
    made = Path(tempfile.mkdtemp(prefix="tocsin-demo-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
