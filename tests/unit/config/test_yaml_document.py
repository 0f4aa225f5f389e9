"""A YAML file is read with its lines, and what is wrong with it is told with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tocsin.config.document import line_of, parse_document, parse_value, read_document
from tocsin.errors import ConfigError


def told(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_document(text, "f.yaml")
    return [f"{finding.line}: {finding.what}" for finding in caught.value.findings]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("no", "no"),
        ("10:30", "10:30"),
        ("0123", "0123"),
        ("2020-01-01", "2020-01-01"),
        ("1_000", "1_000"),
        ("1e5", "1e5"),
        ("true", True),
        ("12", 12),
        ("-1.5", -1.5),
        ("~", None),
        ("", None),
        ("'12'", "12"),
    ],
)
def test_plain_values_mean_what_they_look_like(text: str, value: Any) -> None:
    """YAML 1.1's surprises are text: a time is no number of base 60, an identifier keeps its zero."""
    assert parse_document(f"key: {text}", "f.yaml").data == {"key": value}


def test_every_key_has_its_line() -> None:
    """Errors are told at FILE:LINE."""
    document = parse_document("a:\n  - b: 1\n    c: 2\n", "f.yaml")
    assert [line_of(document.lines, path) for path in [("a",), ("a", 0, "b"), ("a", 0, "c")]] == [1, 2, 3]


def test_a_key_that_is_not_there_has_the_line_around_it() -> None:
    """Where it would have to be written."""
    assert line_of(parse_document("a:\n  - b: 1\n", "f.yaml").lines, ("a", 0, "missing", "deeper")) == 2


def test_an_empty_file_is_an_empty_mapping() -> None:
    """Everything has a default."""
    assert parse_document("# nothing yet\n", "f.yaml").data == {}


def test_a_merge_is_overridden_by_what_is_written_beside_it() -> None:
    """Wherever the `<<` stands."""
    document = parse_document("x: &x {a: 1, b: 2}\ny:\n  a: 3\n  <<: *x\n", "f.yaml")
    assert (document.data["y"], line_of(document.lines, ("y", "a"))) == ({"a": 3, "b": 2}, 3)


def test_a_key_given_twice_is_told_with_both_lines() -> None:
    """Most readers let the last one win in silence."""
    assert told("a: 1\nb: 2\na: 3\n") == ["3: the key 'a' is given twice, first on line 1"]


def test_all_doubled_keys_are_told_at_once() -> None:
    """Nobody mends one to be told of the next."""
    assert len(told("a: 1\na: 2\nb: {c: 1, c: 2}\n")) == 2


@pytest.mark.parametrize(
    ("text", "told_as"),
    [
        ("a: 1\nb: [1\n", "3: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("a:\n\t- b\n", "2: not valid YAML: found character '\\t' that cannot start any token"),
        ("- a\n", "1: a mapping is wanted at the top"),
        ("a: !!python/object:os.system x\n", "1: the tag tag:yaml.org,2002:python/object:os.system is not known here"),
        ("a: *b\n", "1: not valid YAML: found undefined alias 'b'"),
        ("a: &x [*x]\n", "1: an alias that contains itself"),
        ("a: 1\n---\nb: 1\n", "2: not valid YAML: a second document begins here"),
        ("a: 1\nb: c: d\n", "2: not valid YAML: mapping values are not allowed here"),
        ("? [a]\n: 1\n", "1: a key must be plain text"),
        ("a: 1\nb: \x07\n", "2: a character that YAML does not allow: U+0007"),
        ("a: " + "[" * 5000, "0: nested too deeply"),
    ],
)
def test_broken_yaml_is_told_with_its_line(text: str, told_as: str) -> None:
    """Never as a traceback."""
    assert told(text) == [told_as]


def test_aliases_cannot_blow_the_file_up() -> None:
    """Ten lines of nested aliases stand for ten billion values: refused, quickly."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert told("\n".join(lines))[0].endswith("more than 100000 values")


def test_a_missing_file_says_how_to_start(tmp_path: Path) -> None:
    """The first thing that a new operator sees."""
    with pytest.raises(ConfigError, match=r"no such file; start from .* tocsin check --example > config.yaml"):
        read_document(tmp_path / "config.yaml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """Told as what it is."""
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        read_document(tmp_path)


def test_a_file_in_another_encoding_is_told_with_its_line(tmp_path: Path) -> None:
    """Line of the first byte that isn't UTF-8."""
    (tmp_path / "c.yaml").write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigError, match=r"c\.yaml:2: not UTF-8"):
        read_document(tmp_path / "c.yaml")


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    """Some editors write one."""
    (tmp_path / "c.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_document(tmp_path / "c.yaml").data == {"a": 1}


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    """Somebody named a log."""
    (tmp_path / "c.yaml").write_bytes(b"#" * (1 << 20) + b"#")
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        read_document(tmp_path / "c.yaml")


def test_a_value_by_itself_may_be_a_list() -> None:
    """As environment variables give it."""
    assert parse_value("[a, {b: 1}]") == ["a", {"b": 1}]


def test_a_broken_value_by_itself_raises() -> None:
    """With the reason, without a line that means nothing."""
    with pytest.raises(ValueError, match="not valid YAML: expected"):
        parse_value("[a, b")
