"""What `tocsin doctor` says of who may come in: the project, the list, its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tocsin.errors import TocsinError
from tocsin.ports import Health

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from tocsin.access.allowlist import Listed
    from tocsin.access.posture import Project
    from tocsin.config import Config


async def access(config: Config, now: datetime) -> Sequence[Health]:
    """Empty where people sign in with no project."""
    from tocsin.access.posture import examine

    if config.web.supabase is None:
        return ()
    listed, hook = await _stored(config, now)
    return (*listed, *await examine(_project(config, has_hook=hook), now))


async def _stored(config: Config, now: datetime) -> tuple[tuple[Health, ...], bool]:
    from tocsin.cli.store import opened
    from tocsin.state.allowlist import AllowlistTable
    from tocsin.state.posture import table_posture

    try:
        async with opened(config.file) as state:
            tables, hook = await table_posture(state)
            return (*tables, _list(await AllowlistTable(state).load(), now)), hook
    except TocsinError as error:
        return (Health(ok=False, what=f"the allowlist: {error}"),), False


def _list(listed: Listed, now: datetime) -> Health:
    from tocsin.access.allowlist import Effect, Role

    holding = [entry for entry in listed.entries if entry.holds(now) and entry.effect is Effect.ALLOW]
    admins = sum(entry.role is Role.ADMIN for entry in holding)
    if admins:
        return Health(ok=True, what=f"{len(holding)} entries let in, {admins} of them admins")
    what = "nobody on the allowlist is an admin" if holding else "nobody is on the allowlist, so nobody comes in"
    return Health(ok=False, what=what, mend="tocsin allowlist add you@example.com --role admin")


def _project(config: Config, *, has_hook: bool) -> Project:
    from tocsin.access.posture import Project
    from tocsin.ports import secret_text

    settings = config.web.supabase
    assert settings is not None
    base = f"{settings.url}/auth/v1"
    return Project(
        url=settings.url,
        jwks_url=settings.jwks_url or f"{base}/.well-known/jwks.json",
        issuer=settings.issuer or base,
        audience=settings.audience,
        api_key=secret_text(settings.api_key) if settings.api_key is not None else "",
        takes_shared_secret=settings.jwt_secret is not None,
        has_hook=has_hook or settings.hook_secret is not None,
    )
