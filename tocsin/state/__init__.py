"""What must survive a kill -9, in SQLite or Postgres. See `store.State`."""

from __future__ import annotations

from tocsin.state.change import Change
from tocsin.state.claims import Claim
from tocsin.state.outbox import Outbox, Waiting
from tocsin.state.store import Restored, State

__all__ = ["Change", "Claim", "Outbox", "Restored", "State", "Waiting"]
