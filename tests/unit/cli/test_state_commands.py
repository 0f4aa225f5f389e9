"""tocsin state, and what every command says of a store that is empty, absent or none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Run, Store


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["alerts"], "nothing is firing\n"),
        (["incidents", "list"], "no open incidents (--all shows those that have ended)\n"),
        (["incidents", "list", "--all"], "no incidents yet\n"),
        (["silence", "list"], "no silences; add one: tocsin silence add MATCHER… --for 2h --why TEXT\n"),
        (
            ["silence", "windows"],
            "no windows; add one to `windows` in the configuration: see `tocsin check --example`\n",
        ),
        (["token", "list"], "no tokens; make one: tocsin token create --scope query:read\n"),
    ],
)
def test_nothing_to_list_is_said(run: Run, store: Store, command: list[str], told: str) -> None:
    """An empty table would look like a failure; the JSON is an empty list."""
    store.holds()
    assert (run(*command).output, json.loads(run(*command, "--json").output)) == (told, [])


@pytest.mark.parametrize("command", ["alerts", "incidents list", "silence list", "token list", "state check"])
def test_without_a_store_it_is_said_how_to_get_one(run: Run, folder: Path, command: str) -> None:
    """Listing makes no file."""
    result = run(*command.split())
    assert (result.exit_code, "start the daemon, or run `tocsin state migrate`" in result.stderr) == (1, True)
    assert not (folder / "tocsin.db").exists()


def test_migrate_makes_a_store(run: Run, folder: Path) -> None:
    """And may be repeated."""
    assert [run("state", "migrate").exit_code for _ in range(2)] == [0, 0]
    assert (folder / "tocsin.db").exists()


def test_a_backup_is_a_store_of_its_own(run: Run, folder: Path, incident: str) -> None:
    """It is restored by being put in place."""
    run("state", "backup", "backup.db")
    (folder / "config.yaml").write_text((folder / "config.yaml").read_text() + "state: {url: sqlite:///backup.db}\n")
    assert json.loads(run("incidents", "list", "--json").output)[0]["id"] == incident


def test_a_backup_overwrites_nothing(run: Run, folder: Path, incident: str) -> None:
    """Least of all the last good one."""
    (folder / "there.db").touch()
    result = run("state", "backup", "there.db")
    assert (result.exit_code, "there.db exists: name a new file" in result.stderr) == (1, True)


def test_a_sound_store_is_sound(run: Run, incident: str) -> None:
    """Exit 0."""
    assert (run("state", "check").exit_code, run("state", "check").output) == (0, "sound\n")


def test_a_file_that_is_no_store_is_told(run: Run, folder: Path) -> None:
    """With what to do; never a traceback."""
    (folder / "tocsin.db").write_bytes(b"this is no database at all, it is just text. " * 200)
    result = run("state", "check")
    assert (result.exit_code, "the file is not a state store" in result.stderr) == (1, True)
