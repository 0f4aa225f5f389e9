"""Several replicas on one Postgres: who leads, which epoch may write, and who there is.

Closed to Supabase's REST interface as the tables before it (0004).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

TABLES = ("leadership", "fence", "replicas")

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
    epoch = sa.Column("epoch", sa.Integer, nullable=False)
    op.create_table(
        "leadership", text("name", primary_key=True), epoch, text("holder"), text("address"), at("since"), at("until")
    )
    op.create_table("fence", text("name", primary_key=True), sa.Column("epoch", sa.Integer, nullable=False))
    op.create_table("replicas", text("name", primary_key=True), text("address"), at("seen_at"))
    op.execute("INSERT INTO leadership VALUES ('leader', 0, '', '', 0, 0)")
    op.execute("INSERT INTO fence VALUES ('leader', 0)")
    if op.get_bind().dialect.name == "postgresql":
        for table in TABLES:
            op.execute(REVOKE_FROM_CLIENTS.replace("TABLE_NAME", table))
            op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
