"""What a silence would hide now, and would have hidden in the last 30 days: shown before it is made."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from tocsin.incidents.silences import Preview
from tocsin.incidents.silences import preview as hides
from tocsin.model import Alert, AlertState, Silence
from tocsin.state import codec
from tocsin.state.schema import alerts, members

if TYPE_CHECKING:
    from tocsin.state.store import State

LOOKS_BACK: Final = timedelta(days=30)
MOST: Final = 50_000
"""Of the past so many alerts are read, the newest."""


async def previewed(state: State, silence: Silence, now: datetime) -> Preview:
    """Of what the store has. Raises StateError."""
    firing = sa.select(alerts.c.doc).where(alerts.c.state == AlertState.FIRING)
    ended = (
        sa.select(members.c.doc)
        .where(members.c.state == AlertState.RESOLVED, members.c.joined_at >= now - LOOKS_BACK)
        .order_by(members.c.joined_at.desc())
        .limit(MOST)
    )
    async with state.reading() as connection:
        fires = [codec.alert_of(codec.parse(doc)) for doc in (await connection.execute(firing)).scalars()]
        past = [codec.alert_of(codec.parse(doc)) for doc in (await connection.execute(ended)).scalars()]
    # One that is a member of several incidents fired once.
    once: dict[tuple[str, datetime], Alert] = {(alert.id, alert.active_at): alert for alert in past}
    return hides(silence, fires, once.values())
