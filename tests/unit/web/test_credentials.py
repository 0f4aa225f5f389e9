"""Service tokens from memory: how old they may be, and what is said when they can't be looked up."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tocsin.access.tokens import Scope, ServiceToken, mint
from tocsin.errors import StateError
from tocsin.testing.clock import VirtualClock
from tocsin.web.credentials import CachedTokens

NOW = datetime(2026, 3, 1, tzinfo=UTC)
_, TOKEN = mint([Scope.METRICS_READ], NOW)


class Store:
    """One token, or no answer."""

    def __init__(self) -> None:
        self.row: ServiceToken | None = TOKEN
        self.is_down = False

    async def get(self, id: str) -> ServiceToken | None:
        if self.is_down:
            raise StateError("the store does not answer")
        return self.row if id == TOKEN.id else None


@pytest.fixture
def store() -> Any:
    return Store()


async def test_while_the_store_is_down_a_token_is_believed_for_a_minute(store: Any) -> None:
    """Then it can't be known, which is 503 and not 401; and so it is at once for a token never seen before."""
    clock = VirtualClock(NOW)
    tokens = CachedTokens(store, clock)
    found = [await tokens.service_token(TOKEN.id)]
    store.is_down = True
    await clock.advance(59)
    found.append(await tokens.service_token(TOKEN.id))
    await clock.advance(1)
    for id in (TOKEN.id, "another"):
        with pytest.raises(StateError):
            await tokens.service_token(id)
    assert found == [TOKEN, TOKEN]


async def test_a_clock_that_was_set_back_keeps_no_revoked_token(store: Any) -> None:
    """How old the memory is can't be told then: the store is asked."""
    clock = VirtualClock(NOW)
    tokens = CachedTokens(store, clock)
    await tokens.service_token(TOKEN.id)
    store.row = None
    clock.jump(-3600)
    assert await tokens.service_token(TOKEN.id) is None
