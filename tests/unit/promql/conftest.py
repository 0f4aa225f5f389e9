"""A store with a few series, and a query in one line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tocsin.model import Labels, Sample
from tocsin.promql import Round, Vector, compile_expr
from tocsin.series import Store

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
Ask = Callable[[str], dict[Labels, float]]


@pytest.fixture
def store() -> Store:
    """`requests{code,instance}`: 240 samples 15 s apart, rising by 1, 2, 3 (code 200) and 4, 5, 6 (code 500)."""
    filled = Store()
    series = [Labels(code=code, instance=str(i)) for code in ("200", "500") for i in range(3)]
    for step in range(240):
        at = EPOCH + timedelta(seconds=15 * step)
        filled.append(
            Sample(name="requests", labels=labels, value=float(step * (index + 1)), at=at)
            for index, labels in enumerate(series)
        )
    return filled


@pytest.fixture
def ask(store: Store) -> Ask:
    """The vector of an expression at the newest sample, as a dictionary."""

    def asked(expression: str) -> dict[Labels, float]:
        at = store.newest
        assert at is not None
        result = Round(store, at).evaluate(compile_expr(expression))
        assert isinstance(result, Vector)
        return dict(result)

    return asked
