"""The list as CSV: safe in a spreadsheet, the same when read back, and all or nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.access.allowlist import Effect, Role, entry_of
from tocsin.access.allowlist.csv_file import difference, export_csv, import_csv
from tocsin.errors import InputError

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def findings(data: bytes) -> list[str]:
    with pytest.raises(InputError) as raised:
        import_csv(data, "list.csv", NOW, by="test")
    return [str(finding) for finding in raised.value.findings]


def test_no_cell_begins_like_a_formula() -> None:
    """`=cmd|…` in a note must not run when somebody opens the export."""
    notes = ["=1+1", "+1", "-1", "@SUM(A1)", "'=1", "plain", "＝1"]
    entries = [entry_of(f"{sign}a{i}@example.com", NOW, by="t", note=n) for i, n in enumerate(notes) for sign in "=+-x"]
    lines = export_csv(entries).splitlines()[1:]
    cells = [cell for line in lines for cell in (line.split(",")[0], line.split(",")[4])]
    assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "＝"))] == []


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40))
def test_what_is_exported_is_imported_the_same(note: str) -> None:
    """Guards, quotes and commas included."""
    kept = entry_of("=ana@example.com", NOW, by="test", role=Role.VIEWER, note=note.strip(), expires_at=NOW)
    denied = entry_of("*.example.com", NOW, by="test", effect=Effect.DENY)
    found = import_csv(export_csv([kept, denied]).encode(), "list.csv", NOW, by="test")
    assert found == (denied, kept)


def test_every_bad_line_is_named() -> None:
    """One reading mends the file."""
    data = b"value,effect,role,expires_at,note\nana@example.com,,,,\nbob@,,,,\nx.example,maybe,,,\n"
    data += b"x@y.example,,king,,\n"
    data += b"z@y.example,,,tomorrow,\nANA@example.com,,,,\ny.example,deny,viewer,,\n"
    assert [line.split(": ")[0] for line in findings(data)] == [f"list.csv:{n}" for n in (3, 4, 5, 6, 7, 8)]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"email,role\n", "unknown column 'email'"),
        (b"value,r\xf4le\n", "not UTF-8"),
        (b"efect,value\n", "did you mean effect?"),
        (b"role,note\nviewer,x\n", "no column value"),
        (b"value,value\n", "one twice"),
        (b"value\nana@example.com,viewer\n", "2 cells under 1 columns"),
        (b'value\n"ana@example.com\n', "not CSV"),
        (b"value\n" + b"x" * 5_000_000, "larger than"),
    ],
)
def test_a_file_that_is_no_list_says_what_to_do(data: bytes, says: str) -> None:
    """In words about the file."""
    assert says in findings(data)[0]


def test_excels_byte_order_mark_and_line_ends_are_taken() -> None:
    """What a spreadsheet saves."""
    found = import_csv(b"\xef\xbb\xbfvalue,role\r\nAna@Example.com,Viewer\r\n\r\n", "list.csv", NOW, by="test")
    assert [(entry.value, entry.role) for entry in found] == [("ana@example.com", Role.VIEWER)]


def test_what_a_spreadsheet_saves_where_the_comma_is_a_decimal_sign_is_taken() -> None:
    """Semicolons; a comma in a note is part of it."""
    data = b"\xef\xbb\xbfvalue;role;note\r\nana@example.com;viewer;left, came back\r\n"
    (entry,) = import_csv(data, "list.csv", NOW, by="test")
    assert (entry.value, entry.role, entry.note) == ("ana@example.com", Role.VIEWER, "left, came back")
    assert "quote cells with ;" in findings(b"value;note\na.example;x;y\n")[0]


def test_a_dry_run_says_what_would_change() -> None:
    """Added, changed, removed; what is the same is not mentioned."""
    have = [entry_of(text, NOW, by="ana") for text in ("same.example", "other.example", "old.example")]
    later = NOW + timedelta(days=1)
    want = [
        entry_of("same.example", later, by="bob"),
        entry_of("other.example", later, by="bob", note="new note"),
        entry_of("new.example", later, by="bob"),
    ]
    found = difference(have, want, prune=True)
    assert [entry.value for entry in found.added] == ["new.example"]
    assert [(was.note, is_.note) for was, is_ in found.changed] == [("", "new note")]
    assert [entry.value for entry in found.removed] == ["old.example"]
    assert difference(have, want, prune=False).removed == ()
