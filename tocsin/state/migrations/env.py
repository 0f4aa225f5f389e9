"""alembic's entry: runs the migrations on the connection that `upgrade` was given."""

from __future__ import annotations

from alembic import context

from tocsin.state.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
# The caller's transaction: a migration that fails leaves the store as it was.
context.run_migrations()
