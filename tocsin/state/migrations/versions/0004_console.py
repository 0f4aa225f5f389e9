"""The console's sessions and one-time links; and every table closed to Supabase's REST interface.

On Supabase the schema `public` is served over REST to the roles anon and authenticated, by default privileges that
hold for tables made later, too. 0002 closed the allowlist's tables; here all others are closed in the same way, so that
neither tokens' digests nor incidents can be read there: nothing is granted, and row level security is on without a
policy. The owner, which the daemon is, passes both.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

TABLES = (
    "meta", "alerts", "incidents", "members", "told", "notifications", "receipts", "decisions", "silences", "acks",
    "checkpoints", "service_tokens", "storms", "console_sessions", "console_links", "alembic_version",
)  # fmt: skip

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


def at(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def upgrade() -> None:
    op.create_table(
        "console_sessions",
        text("digest", primary_key=True), sa.Column("id", sa.Text, nullable=False, unique=True), text("stage"),
        text("via"), text("email"), text("auth_session"), sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False), at("created_at"), at("seen_at"), at("expires_at"),
        text("client"),
    )  # fmt: skip
    op.create_table("console_links", text("digest", primary_key=True), at("expires_at"))
    if op.get_bind().dialect.name == "postgresql":
        for table in TABLES:
            op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            op.execute(f"REVOKE ALL ON {table} FROM PUBLIC")
            op.execute(REVOKE_FROM_CLIENTS.replace("TABLE_NAME", table))
