"""Places in JSON documents and variables in texts, without a socket."""

from __future__ import annotations

from typing import Any

import pytest

from collectors.endpoint.json_path import MISSING, find, parsed, same
from collectors.endpoint.variables import filled, filled_json, names_in

DOCUMENT = {"items": [{"id": 7}, {"id": 8}], "a.b": {"c": None}, "x-y": 1}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("items[0].id", 7), ("$.items[-1].id", 8), ("$", DOCUMENT), ('["a.b"].c', None), ("$['a.b']['c']", None),
        ("x-y", 1), ("items[2].id", MISSING), ("items.id", MISSING), ("x-y[0]", MISSING), ("gone", MISSING),
    ],
)  # fmt: skip
def test_a_path_names_one_place(path: str, found: Any) -> None:
    """With or without `$`; null is a value, and what is not there is none."""
    assert find(DOCUMENT, parsed(path)) is found or find(DOCUMENT, parsed(path)) == found


@pytest.mark.parametrize("path", ["", " ", "a..b", "a[", "a[x]", "a[*]", "a b", "a.", "[0]b", "a[0"])
def test_what_is_no_path_is_refused(path: str) -> None:
    """At the start, with how to write it."""
    with pytest.raises(ValueError, match="no JSON path"):
        parsed(path)


@pytest.mark.parametrize(
    ("found", "wanted", "equal"),
    [
        (1, 1.0, True), (True, 1, False), (1, True, False), ("1", 1, False), (None, None, True), (MISSING, None, False),
        ([1, {"a": True}], [1.0, {"a": True}], True), ([1, {"a": True}], [1, {"a": 1}], False), ([1], [1, 2], False),
    ],
)  # fmt: skip
def test_equality_is_jsons(found: Any, wanted: Any, equal: bool) -> None:
    """A number is a number however it is written, and true is none."""
    assert same(found, wanted) is equal


def test_no_value_is_read_again() -> None:
    """A value that looks like a variable is text: what a peer sent never names another one."""
    assert filled("<${a}> $5 {b} $", {"a": "${b}$${b}\\1", "b": "secret"}) == "<${b}$${b}\\1> $5 {b} $"


def test_variables_are_found_wherever_they_stand() -> None:
    """In keys and values, at any depth; `$${` is none."""
    assert sorted(names_in({"${a}": ["x${b}", {"k": "$${c}"}, 3]})) == ["a", "b"]
    assert filled_json({"${a}": ["x${b}", "${n}", 3]}, {"a": "k", "b": 1.5, "n": {"deep": True}}) == {
        "k": ["x1.5", {"deep": True}, 3]
    }
