"""Who may come in at the port: one Supabase project (or none), its allowlist, and the console's sessions.

    entrance = await Entrance.of(config, state, clock)
    Gate(…, people=entrance)
    await entrance.configure(config)      # a reload: what comes after goes by the new settings
    await entrance.close()

Sessions stay through a reload; a session of a project that is no longer configured ends at its next request.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp
import structlog

from tocsin.access.allowlist import Roster
from tocsin.access.allowlist.listen import listen
from tocsin.access.door import Admitted, Door
from tocsin.access.grant import Grant
from tocsin.access.jwt import JwksKeys, KeySource, SharedSecret, TokenPolicy, TokenVerifier
from tocsin.access.live import LiveSessions
from tocsin.access.sealing import KEY_FILE, Seal, key_of_file
from tocsin.access.signin import SupabaseAuth
from tocsin.access.verdicts import NotAllowed, Reason, Refusal, Unavailable, Unproven
from tocsin.access.webhooks import parse_secrets
from tocsin.config import Config
from tocsin.config.schema import SupabaseSettings
from tocsin.errors import TocsinError
from tocsin.ports import Clock, secret_text
from tocsin.state import State
from tocsin.state.allowlist import AllowlistTable
from tocsin.tasks import end_tasks
from tocsin.web.browser import origin_of
from tocsin.web.people import Person
from tocsin.web.sessions import Sessions

log = structlog.get_logger(__name__)


@dataclass(kw_only=True)
class Project:
    """One Supabase project, as configured: sessions' Upstream."""

    settings: SupabaseSettings
    http: aiohttp.ClientSession
    roster: Roster
    door: Door
    auth: SupabaseAuth | None
    """None without an API key: access tokens are verified, and nobody signs in here."""
    hook_keys: tuple[bytes, ...]
    listening: asyncio.Task[None] | None

    @classmethod
    def of(cls, settings: SupabaseSettings, state: State, dsn: str, clock: Clock) -> Project:
        """The parts, of which none has asked anything yet. `dsn` is of the state store on Postgres, or empty."""
        http = aiohttp.ClientSession()
        base = f"{settings.url}/auth/v1"
        keys = JwksKeys(settings.jwks_url or f"{base}/.well-known/jwks.json", http)
        sources: dict[str, KeySource] = {"ES256": keys, "RS256": keys}
        if settings.jwt_secret is not None:
            sources["HS256"] = SharedSecret(secret_text(settings.jwt_secret))
        policy = TokenPolicy(
            issuer=settings.issuer or base,
            audience=settings.audience,
            max_lifetime=settings.max_lifetime,
            least_aal=settings.least_aal,
        )
        key = secret_text(settings.api_key) if settings.api_key is not None else ""
        live = LiveSessions(base, key, http) if key and settings.live_check else None
        roster = Roster(AllowlistTable(state), break_glass=settings.break_glass)
        hook = settings.hook_secret
        return cls(
            settings=settings,
            http=http,
            roster=roster,
            door=Door(TokenVerifier(sources, policy), roster, live=live),
            auth=SupabaseAuth(base, key, http) if key else None,
            hook_keys=() if hook is None else parse_secrets(secret_text(hook)),
            listening=asyncio.create_task(listen(dsn, roster.invalidate, clock), name="allowlist") if dsn else None,
        )

    async def known(self, token: str, now: datetime) -> Admitted | Refusal:
        """See sessions.Upstream."""
        return await self.door.known(token, now)

    async def renew(self, refresh_token: str, now: datetime) -> Grant | Refusal:
        """See sessions.Upstream."""
        if self.auth is None:
            return Unavailable(reason=Reason.NO_LIVE_ANSWER, because="web.supabase.api_key is not set")
        return await self.auth.renew(refresh_token, now)

    async def sign_out(self, access_token: str) -> None:
        """See sessions.Upstream."""
        if self.auth is not None:
            await self.auth.sign_out(access_token)

    async def close(self) -> None:
        """Stop listening; note who was seen; hang up."""
        if self.listening is not None:
            await end_tasks(self.listening)
        await self.roster.close()
        await self.http.close()


class Entrance:
    """gate.People: what is configured now."""

    def __init__(self, config: Config, state: State, clock: Clock, seal: Seal) -> None:
        """Use `of`."""
        self.clock = clock
        self.seal = seal
        self._state = state
        self._settings = config.web.supabase
        self.project: Project | None = None
        self.address = ""
        """HOST:PORT that is listened on, once it is."""
        self._external_url = config.external_url or ""
        self.is_loopback = config.web.is_loopback
        session = config.web.session
        self.sessions = Sessions(
            state.sessions, seal, lifetime=timedelta(seconds=session.lifetime), idle=timedelta(seconds=session.idle),
            upstream=None,
        )  # fmt: skip

    @classmethod
    async def of(cls, config: Config, state: State, clock: Clock) -> Entrance:
        """Raises TocsinError where the session key can't be had."""
        entrance = cls(config, state, clock, await asyncio.to_thread(_seal, config))
        entrance._install(config)
        return entrance

    async def configure(self, config: Config) -> None:
        """Go by these settings from now on."""
        self._external_url = config.external_url or ""
        session = config.web.session
        self.sessions.limit(timedelta(seconds=session.lifetime), timedelta(seconds=session.idle))
        if config.web.supabase == self._settings:
            return
        old = self.project
        self._install(config)
        if old is not None:
            await old.close()

    def _install(self, config: Config) -> None:
        self._settings = config.web.supabase
        dsn = ""
        if self._state.dialect == "postgresql":
            dsn = re.sub(r"^postgres(ql)?(\+\w+)?:", "postgresql:", config.state_url)
        settings = self._settings
        self.project = None if settings is None else Project.of(settings, self._state, dsn, self.clock)
        self.sessions.upstream = self.project

    async def close(self) -> None:
        """The end."""
        if self.project is not None:
            await self.project.close()

    @property
    def base_url(self) -> str:
        """Where people reach the console; empty while nothing listens and nothing is configured."""
        return self._external_url or (f"http://{self.address}" if self.address else "")

    @property
    def origin(self) -> str:
        """scheme://host of external_url; empty without one."""
        return origin_of(self._external_url)

    async def one_time_link(self) -> str:
        """An address that opens the console once; empty where Supabase says who may, or the port is not loopback's."""
        if self.project is not None or not self.is_loopback:
            return ""
        return f"http://{self.address}/login/link?code={await self.sessions.link(self.clock.now())}"

    # gate.People ---------------------------------------------------------------------------------------------------

    async def by_cookie(self, cookie: str, now: datetime, *, seen: bool = True) -> Person | Refusal:
        """Whose browser shows this session cookie."""
        return await self.sessions.by_cookie(cookie, now, seen=seen)

    async def by_bearer(self, token: str, now: datetime) -> Person | Refusal:
        """Whose access token this is."""
        if self.project is None:
            return Unproven(reason=Reason.NO_KEYS, because="no web.supabase is configured")
        found = await self.project.known(token, now)
        if isinstance(found, Refusal):
            return found
        who = found.principal
        if found.role is None:
            return NotAllowed(reason=Reason.ROLE_TOO_LOW, because="no role in the console", sub=who.sub)
        return Person(
            name=who.email, email=who.email, role=found.role, via="bearer", session=who.session_id, since=who.issued_at
        )


def _seal(config: Config) -> Seal:
    """The configured key, or the one in a file beside the state."""
    if (key := config.web.session.key) is not None:
        return Seal(secret_text(key).encode())
    url = config.state_url
    folder = Path(url.partition(":///")[2]).parent if url.startswith("sqlite") else config.folder
    file = folder / KEY_FILE
    try:
        return Seal(key_of_file(file))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise TocsinError(
            f"{file}: the key of the console's sessions can't be had: {why}; let the daemon write there, or set "
            "web.session.key_file"
        ) from None
