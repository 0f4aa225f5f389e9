"""The canary's rows: whether its receipt is there, and nothing kept of walks that are over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from tocsin.state.schema import notifications, receipts

if TYPE_CHECKING:
    from tocsin.state.store import State


async def has_receipt(state: State, id: str) -> bool:
    """True once the notification's receipt is durable. Raises StateError."""
    query = sa.select(sa.func.count()).select_from(receipts).where(receipts.c.notification == id)
    async with state.reading() as connection:
        return bool((await connection.execute(query)).scalar())


async def forget_walks(state: State, notifier: str) -> None:
    """Remove what was queued for `notifier` and said to it. Raises StateError."""
    async with state.writing() as connection:
        # By way of the notifications, which are indexed by notifier: receipts may be many.
        own = sa.select(notifications.c.id).where(notifications.c.notifier == notifier)
        await connection.execute(sa.delete(receipts).where(receipts.c.notification.in_(own)))
        await connection.execute(sa.delete(notifications).where(notifications.c.notifier == notifier))
