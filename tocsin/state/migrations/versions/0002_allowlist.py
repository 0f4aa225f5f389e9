"""Who may come in: the allowlist, its settings and its audit.

The database itself counts the list's version up, tells of changes (Postgres) and keeps the audit append-only, so that
both hold for whoever writes. On Supabase the public schema is open to the roles anon and authenticated over its REST
interface: they get nothing here, and row level security is on with no policy for them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TABLES = ("allowlist", "allowlist_settings", "allowlist_audit")
WATCHED = "kind, effect, role, note, added_by, added_at, expires_at, value"
APPEND_ONLY = "the audit of the allowlist is append-only"

REVOKE_FROM_CLIENTS = """
    DO $$
    DECLARE
        client text;
    BEGIN
        FOR client IN SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
            EXECUTE pg_catalog.format('REVOKE ALL ON TABLE_NAME FROM %I', client);
        END LOOP;
    END $$
"""


def text(name: str, *, primary_key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=primary_key, nullable=False)


def at(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "allowlist",
        text("value", primary_key=True), text("kind"), text("effect"), text("role"), text("note"), text("added_by"),
        at("added_at"), at("expires_at", nullable=True), at("last_seen_at", nullable=True),
    )  # fmt: skip
    settings = op.create_table("allowlist_settings", text("name", primary_key=True), text("value"))
    op.create_table(
        "allowlist_audit",
        sa.Column("seq", SERIAL, primary_key=True, autoincrement=True),
        at("at"), text("actor"), text("action"), text("value"), text("before"), text("after"),
    )  # fmt: skip
    op.create_index("allowlist_audit_of_value", "allowlist_audit", ["value", "seq"])
    op.bulk_insert(settings, [{"name": "version", "value": "1"}, {"name": "folding", "value": ""}])
    if op.get_bind().dialect.name == "postgresql":
        _postgres()
    else:
        _sqlite()


def _sqlite() -> None:
    count_up = "UPDATE allowlist_settings SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT) WHERE name = 'version'"
    for event in ("INSERT", "DELETE", f"UPDATE OF {WATCHED}"):
        name = event.split()[0].lower()
        op.execute(f"CREATE TRIGGER allowlist_{name} AFTER {event} ON allowlist BEGIN {count_up}; END")
    for event in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER allowlist_audit_{event.lower()} BEFORE {event} ON allowlist_audit BEGIN "
            f"SELECT RAISE(ABORT, '{APPEND_ONLY}'); END"
        )


def _postgres() -> None:
    op.execute("""
        CREATE FUNCTION allowlist_changed() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
        BEGIN
            UPDATE allowlist_settings SET value = (value::bigint + 1)::text WHERE name = 'version';
            PERFORM pg_catalog.pg_notify('tocsin_allowlist', '');
            RETURN NULL;
        END $$
    """)
    op.execute(f"""
        CREATE TRIGGER allowlist_changed AFTER INSERT OR DELETE OR UPDATE OF {WATCHED} ON allowlist
        FOR EACH STATEMENT EXECUTE FUNCTION allowlist_changed()
    """)
    op.execute("""
        CREATE TRIGGER allowlist_emptied AFTER TRUNCATE ON allowlist
        FOR EACH STATEMENT EXECUTE FUNCTION allowlist_changed()
    """)
    op.execute(f"""
        CREATE FUNCTION allowlist_audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '{APPEND_ONLY}';
        END $$
    """)
    op.execute("""
        CREATE TRIGGER allowlist_audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON allowlist_audit
        FOR EACH STATEMENT EXECUTE FUNCTION allowlist_audit_append_only()
    """)
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"REVOKE ALL ON {table} FROM PUBLIC")
        op.execute(REVOKE_FROM_CLIENTS.replace("TABLE_NAME", table))
