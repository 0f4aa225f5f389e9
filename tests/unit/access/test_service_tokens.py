"""Service tokens: shown once, stored as a digest, refused when old."""

from datetime import UTC, datetime, timedelta

import pytest

from tocsin.access.tokens import Scope, allows, is_valid, mint, token_id

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_a_minted_token_is_valid_for_its_row() -> None:
    """What `token create` shows opens the door."""
    clear, row = mint([Scope.METRICS_READ], NOW)
    assert is_valid(clear, row, NOW)
    assert token_id(clear) == row.id


def test_the_secret_is_not_stored() -> None:
    """A stolen database opens nothing."""
    clear, row = mint([Scope.METRICS_READ], NOW)
    assert clear.split("_", 2)[2] not in repr(row)


@pytest.mark.parametrize("bad", ["", "tocsin", "tocsin__x", "tocsin_abc_", "other_abc_def", "x" * 5000])
def test_what_is_not_of_our_form_names_no_row(bad: str) -> None:
    """No look-up is made for it."""
    assert token_id(bad) is None


def test_another_secret_with_the_same_id_is_refused() -> None:
    """The id is no secret."""
    clear, row = mint([Scope.ADMIN], NOW)
    assert not is_valid(clear[:-1] + ("A" if clear[-1] != "A" else "B"), row, NOW)


def test_an_expired_token_is_refused_from_its_last_second_on() -> None:
    """`expires_at` is the first moment at which it no longer holds."""
    clear, row = mint([Scope.ADMIN], NOW, expires_at=NOW + timedelta(hours=1))
    assert [is_valid(clear, row, NOW + timedelta(seconds=s)) for s in (3599, 3600)] == [True, False]


def test_admin_covers_every_scope_and_others_only_themselves() -> None:
    """A dashboard's token can't acknowledge an incident."""
    _, admin = mint([Scope.ADMIN], NOW)
    _, reader = mint([Scope.QUERY_READ], NOW)
    assert all(allows(admin, scope) for scope in Scope)
    assert [scope for scope in Scope if allows(reader, scope)] == [Scope.QUERY_READ]
