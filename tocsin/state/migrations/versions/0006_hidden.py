"""What silences hid, to be told when they have ended.

Closed to Supabase's REST interface as the tables before it (0004).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

REVOKE_FROM_CLIENTS = """
    DO $$
    DECLARE
        client text;
    BEGIN
        FOR client IN SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
            EXECUTE pg_catalog.format('REVOKE ALL ON hidden FROM %I', client);
        END LOOP;
    END $$
"""


def text(name: str, *, primary_key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=primary_key, nullable=False)


def upgrade() -> None:
    op.create_table(
        "hidden",
        text("silence", primary_key=True), text("incident", primary_key=True), text("notifier", primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False), sa.Column("told_at", sa.BigInteger), text("told_by"),
    )  # fmt: skip
    op.create_index("hidden_of_incident", "hidden", ["incident"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute(REVOKE_FROM_CLIENTS)
        op.execute("ALTER TABLE hidden ENABLE ROW LEVEL SECURITY")
