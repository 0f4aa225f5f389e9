"""The sign-up gate: the list's ruling as a Postgres function, which Supabase Auth calls before it makes a user.

No daemon is in the way of a sign-up: Postgres answers from the list in its own tables, within the 2 s that Auth allows.
It needs the state store in the application's database (state.url: postgresql://…).

The hook does not see POST /admin/users, a change of e-mail address, or the linking of an identity. What is behind the
middleware stays guarded by it; the custom-access-token hook closes those gaps where it is wanted. And an allowlist of
addresses is worth nothing while `mailer_autoconfirm` is on: then anybody can register an address that is listed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

GATE_SCHEMA: Final = "tocsin_gate"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}", re.ASCII)
_FOLDER: Final = Path(__file__).parent


def gate_sql(state_schema: str, *, gate_schema: str = GATE_SCHEMA, access_token_hook: bool = False) -> str:
    """What installs the gate, to be run by an owner of the tables; it may be run again.

    Raises ValueError for a schema whose name is not a plain one.
    """
    for name in (state_schema, gate_schema):
        if not _NAME.fullmatch(name):
            raise ValueError(f"the schema's name {name!r} is not letters, digits and _")
    files = ["gate.sql", *(["gate_token.sql"] if access_token_hook else []), "gate_grants.sql"]
    text = "".join((_FOLDER / file).read_text(encoding="utf-8") for file in files)
    return text.replace("{{gate}}", f'"{gate_schema}"').replace("{{state}}", f'"{state_schema}"')


def switch_on(gate_schema: str = GATE_SCHEMA, *, access_token_hook: bool = False) -> str:
    """What is left to do in Supabase, for people: on the platform, and for who runs Auth themselves."""
    hooks = [("BEFORE_USER_CREATED", "Before User Created", "before_user_created")]
    if access_token_hook:
        hooks.append(("CUSTOM_ACCESS_TOKEN", "Customize Access Token (JWT) Claims", "custom_access_token"))
    lines = []
    for variable, title, function in hooks:
        uri = f"pg-functions://postgres/{gate_schema}/{function}"
        lines.append(f"Dashboard: Authentication > Hooks > {title}: Postgres, {gate_schema}.{function}")
        lines.append(f"Self-hosted: GOTRUE_HOOK_{variable}_ENABLED=true GOTRUE_HOOK_{variable}_URI={uri}")
    return "\n".join(lines)
