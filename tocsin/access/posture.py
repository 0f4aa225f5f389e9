"""How a Supabase project is set up, as far as it matters for who comes in: what `tocsin doctor` says of it.

    lines = await examine(project, now)

What Auth says itself is asked of it once: the public keys, and /settings. The mend of a gap is a command, or the place
in the dashboard. Sources: supabase/auth internal/api/settings.go; Management API, PATCH /v1/projects/{ref}/config/auth.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp
import orjson

from tocsin.access.fetch import HttpAnswer, NoAnswer, get
from tocsin.access.jwt.keys import KeySet, KeysUnreadable
from tocsin.model import Seconds
from tocsin.ports import Health

MOST_SKEW: Final[Seconds] = 15.0
"""Half of the leeway that tokens have."""
_HOSTED: Final = re.compile(r"https://([a-z]{20})\.supabase\.co")
_DEADLINE: Final = 5.0
_MOST_BYTES: Final = 65_536


@dataclass(frozen=True, kw_only=True)
class Project:
    """What is configured."""

    url: str
    jwks_url: str
    issuer: str
    audience: str
    api_key: str
    """Empty: none is configured."""
    takes_shared_secret: bool
    has_hook: bool
    """The sign-up hook is answered, in Postgres or over HTTP."""


async def examine(project: Project, now: datetime) -> tuple[Health, ...]:
    """Each thing that was looked at. `now` is what this machine's clock says as this begins."""
    async with aiohttp.ClientSession() as session:
        loop = asyncio.get_running_loop()
        began = loop.time()
        found: list[Health] = []
        try:
            answer = await _asked(session, project.jwks_url, "")
        except NoAnswer as error:
            mend = f"is it right, and reachable from here? curl -s {project.jwks_url}"
            found.append(Health(ok=False, what=f"the public keys: {error}", mend=mend))
        else:
            found += [_keys(project, answer), *_clock(answer, now + timedelta(seconds=loop.time() - began))]
        found += [*_tokens(project), *await _settings(session, project)]
    return tuple(found)


async def _asked(session: aiohttp.ClientSession, url: str, api_key: str) -> HttpAnswer:
    headers = {"apikey": api_key} if api_key else {}
    return await get(session, url, headers=headers, deadline=_DEADLINE, most_bytes=_MOST_BYTES)


def _keys(project: Project, answer: HttpAnswer) -> Health:
    try:
        if answer.status != 200:
            raise KeysUnreadable(f"answered {answer.status}")
        found = KeySet.read(answer.body)
    except KeysUnreadable as error:
        mend = f"set web.supabase.url to the project's address; curl -s {project.jwks_url}"
        return Health(ok=False, what=f"the public keys at {project.jwks_url}: {error}", mend=mend)
    if found.left_out:
        mend = "rotate: Dashboard > Project Settings > JWT Keys"
        return Health(ok=False, what=f"of the public keys not used: {'; '.join(found.left_out)}", mend=mend)
    if found.keys:
        kinds = ", ".join(sorted({key.algorithm_name for key in found.keys.values()}))
        return Health(ok=True, what=f"{len(found.keys)} public keys ({kinds})")
    if project.takes_shared_secret:
        return Health(ok=True, what="no public keys: tokens are proven by the shared secret")
    return Health(
        ok=False, what="the project publishes no public keys, so no token can be proven",
        mend="rotate to ES256 keys (Dashboard > Project Settings > JWT Keys), or set web.supabase.jwt_secret_env",
    )  # fmt: skip


def _clock(answer: HttpAnswer, now: datetime) -> Iterator[Health]:
    """From the answer's Date; a cache says with Age how long ago that was."""
    try:
        at = parsedate_to_datetime(answer.headers["date"])
        skew = (now - at).total_seconds() - float(answer.headers.get("age", "0"))
    except (KeyError, ValueError):
        return
    if abs(skew) <= MOST_SKEW:
        yield Health(ok=True, what="the clocks agree")
        return
    side = "ahead of" if skew > 0 else "behind"
    yield Health(
        ok=False, what=f"this machine's clock is {abs(skew):.0f} s {side} Supabase's; from 30 s on tokens are refused",
        mend="timedatectl set-ntp true",
    )  # fmt: skip


def _tokens(project: Project) -> Iterator[Health]:
    yield Health(ok=True, what=f"tokens of {project.issuer} for {project.audience}")
    if project.takes_shared_secret:
        yield Health(
            ok=False, what="tokens signed with the shared secret (HS256) are taken: whoever holds it can be anybody",
            mend="rotate to ES256 keys (Dashboard > Project Settings > JWT Keys), revoke the legacy secret an hour "
            "later, and take jwt_secret_env out of the configuration",
        )  # fmt: skip


async def _settings(session: aiohttp.ClientSession, project: Project) -> Sequence[Health]:
    if not project.api_key:
        mend = "set web.supabase.api_key_env"
        return [Health(ok=False, what="Auth's settings are not known without an API key", mend=mend)]
    url = f"{project.url}/auth/v1/settings"
    try:
        answer = await _asked(session, url, project.api_key)
    except NoAnswer as error:
        return [Health(ok=False, what=f"Auth's settings: {error}", mend="is Auth up?")]
    try:
        body = orjson.loads(answer.body)
    except ValueError:
        body = None
    if answer.status != 200 or not isinstance(body, dict):
        mend = "is web.supabase.api_key a key of this project?"
        return [Health(ok=False, what=f"Auth's settings: {url} answered {answer.status}", mend=mend)]
    return list(switches(project, body))


def switches(project: Project, said: Mapping[str, Any]) -> Iterator[Health]:
    """What Auth's /settings means for who comes in. Pure."""
    external = said.get("external")
    external = external if isinstance(external, dict) else {}
    if not isinstance(said.get("mailer_autoconfirm"), bool):
        yield Health(
            ok=False, what="Auth does not say whether addresses are confirmed", mend="is web.supabase.url right?"
        )
    elif said["mailer_autoconfirm"]:
        yield Health(
            ok=False,
            what="addresses are not confirmed (mailer_autoconfirm): anybody can register one that is on the allowlist "
            "and not theirs, so the list is void",
            mend=_switch(project, "mailer_autoconfirm", False, "MAILER_AUTOCONFIRM"),
        )
    else:
        yield Health(ok=True, what="addresses are confirmed by mail")
    if said.get("disable_signup") is True:
        yield Health(ok=True, what="nobody signs up by themself")
    elif project.has_hook:
        yield Health(ok=True, what="sign-ups are open, and the hook refuses who is not on the list")
    else:
        yield Health(
            ok=False,
            what="anybody may sign up: whoever does stays out here, and has the role authenticated in your database",
            mend="tocsin allowlist install-hook --apply, or "
            + _switch(project, "disable_signup", True, "DISABLE_SIGNUP"),
        )
    if external.get("anonymous_users") is True:
        yield Health(
            ok=False, what="anonymous sign-ins are on: they have the role authenticated, and no address to look for",
            mend=_switch(project, "external_anonymous_users_enabled", False, "EXTERNAL_ANONYMOUS_USERS_ENABLED"),
        )  # fmt: skip


def _switch(project: Project, name: str, on: bool, variable: str) -> str:
    """The command that sets a switch of Auth."""
    value = "true" if on else "false"
    hosted = _HOSTED.fullmatch(project.url)
    if hosted is None:
        return f"GOTRUE_{variable}={value} in Auth's environment"
    return (
        f"curl -X PATCH https://api.supabase.com/v1/projects/{hosted[1]}/config/auth "
        f"-H \"Authorization: Bearer $SUPABASE_ACCESS_TOKEN\" -H 'Content-Type: application/json' "
        f"-d '{{\"{name}\": {value}}}'"
    )
