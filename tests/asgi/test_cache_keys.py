"""Keys that processes share: one for one question, and never one for two."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.asgi.cache.keys import Untold, canonical

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=4)
    | st.binary(max_size=4)
    | st.decimals(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=6,
)


def typed(value: Any) -> Any:
    """A value with its types: 1, 1.0 and True are three."""
    if isinstance(value, tuple):
        return tuple(typed(one) for one in value)
    if isinstance(value, frozenset):
        return frozenset(typed(one) for one in value)
    return type(value).__name__, str(value)


@given(PLAIN, PLAIN)
def test_two_questions_have_one_key_only_where_they_are_one(one: Any, other: Any) -> None:
    """Whatever the arguments are."""
    assert (canonical(one) == canonical(other)) == (typed(one) == typed(other))


@pytest.mark.parametrize("value", [object(), [1], lambda: 1, (1, object())])
def test_what_another_process_could_not_tell_apart_is_no_key(value: Any) -> None:
    """Two of them might look alike."""
    with pytest.raises(Untold):
        canonical(value)
