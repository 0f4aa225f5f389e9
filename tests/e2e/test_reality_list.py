"""What is said to be out of the demo's sight is asked for, and is yielded where it is said to be."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.reality import EMPTY, OUT_OF_SIGHT, absent_names, queries, read_by
from tocsin.rules import load_rules


def test_what_is_out_of_sight_is_asked_for(root: Path) -> None:
    """The list excuses nothing that nobody reads: it stays short."""
    asked, groups = list(queries(root)), load_rules(sorted((root / "alert_rules").glob("*.yaml")))
    assert absent_names() - read_by(groups, asked) == set()
    assert set(EMPTY) - {(one.board, one.title) for one in asked} == set()


def test_what_is_out_of_sight_is_yielded_where_it_is_said_to_be(root: Path) -> None:
    """A name that stands nowhere in the code is an error and no excuse."""
    wrong = [
        (absent.where, name)
        for absent in OUT_OF_SIGHT
        for text in [(root / absent.where).read_text()]
        for name in absent.names
        if name not in text
    ]
    assert wrong == []
