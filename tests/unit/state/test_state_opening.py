"""Opening a store: what can't be opened is an error that says what to do, and one file has one daemon."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.errors import StateError
from tocsin.state import State
from tocsin.testing.clock import START as NOW


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "not a URL"),
        ("mysql://host/db", "mysql is not supported"),
        ("sqlite://", "names no file"),
        ("sqlite:////no/such/folder/state.db", "does its folder exist"),
    ],
)
async def test_a_url_that_can_not_be_used_is_an_error_that_says_what_to_write(url: str, says: str) -> None:
    """One line, with the mend."""
    with pytest.raises(StateError, match=says):
        await State.open(url)


async def test_a_postgres_that_is_not_there_is_an_error_without_its_password() -> None:
    """It is shown in logs."""
    with pytest.raises(StateError, match="start it") as caught:
        await State.open("postgresql://tocsin:geheim@127.0.0.1:1/db")
    assert "geheim" not in str(caught.value)


async def test_a_file_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    """And the error says so."""
    file = tmp_path / "state.db"
    file.write_text("this is a letter, and not a database, but it is long enough to be read as one" * 20)
    with pytest.raises(StateError, match="not a state store"):
        await State.open(f"sqlite:///{file}")
    assert file.read_text().startswith("this is a letter")


async def test_two_daemons_can_not_have_one_file(tmp_path: Path) -> None:
    """The second is told who has it; when that ends, it may."""
    url = f"sqlite:///{tmp_path / 'state.db'}"
    first, second = await State.open(url), await State.open(url)
    await first.take_over(NOW)
    with pytest.raises(StateError, match=r"in use by another tocsin \(process \d+\)"):
        await second.take_over(NOW)
    await first.close()
    assert await second.take_over(NOW) == 0
    await second.close()
