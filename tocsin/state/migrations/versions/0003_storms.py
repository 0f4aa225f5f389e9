"""Storm summaries that are not over."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "storms",
        sa.Column("id", sa.Text, primary_key=True, nullable=False),
        sa.Column("notifier", sa.Text, nullable=False),
        sa.Column("doc", sa.Text, nullable=False),
    )
