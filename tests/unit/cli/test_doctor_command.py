"""`tocsin doctor`: gaps with their mends, exit 1 when there is one, and nothing changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tocsin.cli import cli

CONFIG = """
collectors:
  - {kind: auth_logs, name: auth, source: {file: auth.jsonl}}
  - {kind: endpoint, name: web, targets: [{url: "http://127.0.0.1:1/healthz"}]}
  - {kind: postgres, name: db, dsn_env: DOCTOR_DSN}
notifiers:
  - {kind: console, name: screen}
rules: [rules.yaml]
routes: [{notify: [screen]}]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "rules.yaml").write_text("groups: []\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCTOR_DSN", "postgresql://nobody@127.0.0.1:1/none")
    return tmp_path


def said(folder: Path) -> tuple[int, dict[str, list[bool]], str]:
    """Exit code, the verdicts by part, and everything that was said."""
    run = CliRunner().invoke(cli, ["doctor", "--json"])
    lines = json.loads(run.stdout)
    verdicts: dict[str, list[bool]] = {}
    for line in lines:
        verdicts.setdefault(line["part"], []).append(line["ok"])
    return run.exit_code, verdicts, run.stdout


def test_every_part_of_the_configuration_is_looked_at(folder: Path) -> None:
    """Sources that can't be reached are gaps, a destination that could take a message is not."""
    code, verdicts, _ = said(folder)
    assert (code, verdicts) == (
        1,
        {
            "auth_logs auth": [False],
            "endpoint web": [False],
            "postgres db": [False],
            "console screen": [True],
            "state": [False],
        },
    )


def test_it_says_what_is_missing(folder: Path) -> None:
    """The file's name, and that the server refuses."""
    _, _, text = said(folder)
    assert ("auth.jsonl" in text, "refused" in text) == (True, True)


def test_looking_changes_nothing(folder: Path) -> None:
    """No state, no series, no place in a log."""
    before = sorted(path.name for path in folder.iterdir())
    said(folder)
    assert sorted(path.name for path in folder.iterdir()) == before


def test_the_account_of_what_was_told_is_a_line(folder: Path) -> None:
    """With the store there, its sums are shown."""
    assert CliRunner().invoke(cli, ["state", "migrate"]).exit_code == 0
    _, verdicts, text = said(folder)
    assert (verdicts["state"], verdicts["account"], "in 0 = out 0" in text) == ([True], [True], True)
