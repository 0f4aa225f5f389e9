"""What a config may say, and what it is told when it says something else."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from collectors.postgres import PostgresSettings


def settings(**given: Any) -> PostgresSettings:
    return PostgresSettings.model_validate({"kind": "postgres", "name": "db", **given})


@pytest.mark.parametrize(
    "given", [{}, {"dsn_env": "A", "dsn_file": "b"}, {"dsn": "host=x", "dsn_env": "A"}], ids=["none", "two", "both"]
)
def test_exactly_one_source_of_the_connection_string(given: dict[str, str]) -> None:
    """Two would leave open which one counts."""
    with pytest.raises(ValidationError, match="exactly one of dsn_env, dsn_file and dsn"):
        settings(**given)


def test_a_connection_string_in_place_of_a_variables_name_is_refused() -> None:
    """The commonest slip, told in terms of what to write, and without the password."""
    with pytest.raises(ValidationError, match="not the name of an environment variable; write dsn_env") as caught:
        settings(dsn_env="postgresql://u:s3cret@h/d")
    assert "s3cret" not in str(caught.value)


def test_an_inline_string_does_not_echo() -> None:
    """It holds a password."""
    assert "s3cret" not in repr(settings(dsn="postgresql://u:s3cret@h/d"))


def test_looks_are_close_enough_to_see_every_slow_query() -> None:
    """A threshold below the look's interval draws the looks together."""
    assert settings(dsn_env="A", slow_query_seconds="200ms", activity_interval="500ms").look_interval == 0.1
