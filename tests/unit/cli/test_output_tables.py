"""Listings: a table that fits a terminal, JSON for programs, words for nothing."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta

import pytest

from tocsin.cli import output
from tocsin.cli.output import ago, print_json, print_table
from tocsin.model import Labels

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def test_columns_are_as_wide_as_their_content(capsys: pytest.CaptureFixture[str]) -> None:
    """Piped output is never cut: grep and awk want all of it."""
    print_table(("id", "what"), [("a", "x" * 100), ("long", "y")], empty="")
    assert capsys.readouterr().out == f"ID    WHAT\na     {'x' * 100}\nlong  y\n"


def test_a_terminal_gets_lines_that_fit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The widest column is cut."""
    monkeypatch.setattr(output.sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(output.shutil, "get_terminal_size", lambda fallback: os.terminal_size((40, 24)))
    print_table(("id", "what"), [("i-7k2m9qxd", "x" * 100)], empty="")
    assert capsys.readouterr().out.splitlines()[1] == "i-7k2m9qxd  " + "x" * 27 + "…"


def test_a_cell_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A reason that somebody typed with a line break must not look like another row."""
    print_table(("why",), [("first\nsecond\tthird",)], empty="")
    assert capsys.readouterr().out == "WHY\nfirst second third\n"


def test_nothing_to_list_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Without headings over nothing."""
    print_table(("id",), [], empty="no silences")
    assert capsys.readouterr().out == "no silences\n"


def test_json_has_plain_values(capsys: pytest.CaptureFixture[str]) -> None:
    """Times as RFC 3339 in UTC, sets as sorted lists, labels as objects."""
    print_json({"at": NOW, "scopes": {"b", "a"}, "labels": Labels(a="b")})
    assert json.loads(capsys.readouterr().out) == {
        "at": "2026-07-01T12:00:00Z",
        "scopes": ["a", "b"],
        "labels": {"a": "b"},
    }


@pytest.mark.parametrize(
    ("then", "text"),
    [
        (NOW - timedelta(seconds=42), "42s"),
        (NOW - timedelta(minutes=5, seconds=3), "5m3s"),
        (NOW - timedelta(hours=2, minutes=5, seconds=3), "2h5m"),
        (NOW - timedelta(days=3, hours=2, minutes=5), "3d2h"),
        (NOW + timedelta(hours=2), "in 2h"),
        (NOW, "0s"),
        (None, "-"),
    ],
)
def test_ages_have_two_units(then: datetime | None, text: str) -> None:
    """Nobody needs the seconds of a day."""
    assert ago(then, NOW) == text
