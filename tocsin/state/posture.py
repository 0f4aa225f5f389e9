"""Who else can reach the allowlist's tables in Postgres, and whether the sign-up gate stands: for `tocsin doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from tocsin.access.allowlist.gate import GATE_SCHEMA
from tocsin.ports import Health

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from tocsin.state.store import State

TABLES: Final = ("allowlist", "allowlist_settings", "allowlist_audit")
_OPEN: Final = """
    select c.relname as name, n.nspname as schema, c.relrowsecurity as guarded,
        coalesce(string_agg(r.rolname, ', ' order by r.rolname), '') as clients
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    left join pg_catalog.pg_roles r on r.rolname in ('anon', 'authenticated')
        and pg_catalog.has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
    where c.relname = any(:tables) and n.nspname = current_schema()
    group by c.relname, n.nspname, c.relrowsecurity
    having not c.relrowsecurity or count(r.rolname) > 0
    order by c.relname
"""
_HOOK: Final = """
    select p.oid is not null as there,
        coalesce(pg_catalog.has_function_privilege(a.oid, p.oid, 'EXECUTE')
            and pg_catalog.has_schema_privilege(a.oid, p.pronamespace, 'USAGE')
            and pg_catalog.has_table_privilege(a.oid, to_regclass('allowlist'), 'SELECT'), false) as asked_by_auth,
        exists (select from pg_catalog.pg_roles r where r.rolname in ('anon', 'authenticated')
            and pg_catalog.has_function_privilege(r.oid, p.oid, 'EXECUTE')
            and pg_catalog.has_schema_privilege(r.oid, p.pronamespace, 'USAGE')) as asked_by_clients
    from (select to_regprocedure(:hook) as oid) f
    left join pg_catalog.pg_proc p on p.oid = f.oid
    left join pg_catalog.pg_roles a on a.rolname = 'supabase_auth_admin'
"""
INSTALL: Final = "tocsin allowlist install-hook --apply"


async def table_posture(state: State) -> tuple[tuple[Health, ...], bool]:
    """(what was looked at, whether the sign-up hook is installed). Raises StateError."""
    if state.dialect != "postgresql":
        return (), False
    async with state.reading() as connection:
        return await _looked(connection)


async def _looked(connection: AsyncConnection) -> tuple[tuple[Health, ...], bool]:
    found = []
    for row in await connection.execute(sa.text(_OPEN), {"tables": list(TABLES)}):
        table = f'"{row.schema}".{row.name}'
        why = f"{row.clients} may reach it over the REST interface" if row.clients else "row level security is off"
        revoke = f"revoke all on {table} from {row.clients}; " if row.clients else ""
        mend = f"psql \"$STATE_URL\" -c '{revoke}alter table {table} enable row level security'"
        found.append(Health(ok=False, what=f"{table}: {why}", mend=mend))
    if not found:
        found.append(Health(ok=True, what="the allowlist's tables are closed to the REST interface"))
    hook = (await connection.execute(sa.text(_HOOK), {"hook": f"{GATE_SCHEMA}.before_user_created(jsonb)"})).one()
    if hook.there and not hook.asked_by_auth:
        what = "the sign-up hook is installed, but supabase_auth_admin may not run it: every sign-up fails"
        found.append(Health(ok=False, what=what, mend=INSTALL))
    elif hook.there and hook.asked_by_clients:
        what = "anon or authenticated may run the sign-up hook: they could ask who is on the list"
        found.append(Health(ok=False, what=what, mend=INSTALL))
    elif hook.there:
        # Whether Auth calls it, it tells nobody.
        what = (
            f"the sign-up hook is installed ({GATE_SCHEMA}.before_user_created); it works once Auth is told to call it"
        )
        found.append(Health(ok=True, what=what))
    return tuple(found), bool(hook.there and hook.asked_by_auth)
