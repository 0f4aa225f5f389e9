"""The allowlist's audit can't be written over in SQLite either.

`INSERT OR REPLACE` takes the old row away without a word to the triggers of 0002: SQLite calls those of DELETE only
where recursive_triggers is on (https://www.sqlite.org/lang_conflict.html). Postgres has no such statement, and its
ON CONFLICT DO UPDATE is an update to its triggers.
"""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE TRIGGER allowlist_audit_replace BEFORE INSERT ON allowlist_audit "
            "WHEN EXISTS (SELECT 1 FROM allowlist_audit WHERE seq = NEW.seq) BEGIN "
            "SELECT RAISE(ABORT, 'the audit of the allowlist is append-only'); END"
        )
