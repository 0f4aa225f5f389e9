"""Go's literals: numbers, characters and strings as a template writes them."""

from __future__ import annotations

import re
from typing import Final

_UNDERSCORES: Final = re.compile(r"(?<=[0-9a-fA-FxXoObB])_(?=[0-9a-fA-F])")
_SIMPLE: Final = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "'": "'",
}  # fmt: skip
_ESCAPE: Final = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))", re.DOTALL)
_FLOAT: Final = re.compile(
    r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf|infinity|nan|0[xX][0-9a-fA-F]*\.?[0-9a-fA-F]*[pP][+-]?\d+)",
    re.IGNORECASE,
)


def constant(source: str) -> int | float | None:
    """The value of a number or character literal: an int where it is written as one. None: not a number."""
    if source.startswith("'"):
        text = unquote(source)
        return ord(text) if text is not None and len(text) == 1 else None
    text = _UNDERSCORES.sub("", source)
    digits = text.lstrip("+-").lower()
    try:
        if digits.startswith("0x"):
            return float.fromhex(text) if "p" in digits else int(text, 16)
        if digits.startswith(("0o", "0b")):
            return int(text, 0)
        if any(mark in digits for mark in ".e"):
            return float(text)
        # A leading zero is octal in Go.
        return int(text, 8) if len(digits) > 1 and digits.startswith("0") else int(text)
    except ValueError:
        return None


def unquote(source: str) -> str | None:
    """The text of a Go string or character literal; None where its syntax is wrong."""
    body = source[1:-1]
    if source[0] == "`":
        return body.replace("\r", "")
    out: list[str] = []
    at = 0
    while at < len(body):
        if body[at] != "\\":
            out.append(body[at])
            at += 1
            continue
        found = _ESCAPE.match(body, at)
        if found is None or (char := _unescaped(found, source[0])) is None:
            return None
        out.append(char)
        at = found.end()
    return "".join(out)


def _unescaped(found: re.Match[str], mark: str) -> str | None:
    hexes, short, long, octal, simple = found.groups()
    if simple is not None:
        # \' is no escape inside "…", nor \" inside '…'.
        return None if simple in "'\"" and simple != mark else _SIMPLE.get(simple)
    code = int(octal, 8) if octal else int(hexes or short or long, 16)
    return chr(code) if code <= 0x10FFFF else None


def parse_float(text: str) -> float | None:
    """As strconv.ParseFloat: no spaces, no stray underscores; None where it is no number."""
    if not _FLOAT.fullmatch(text):
        return None
    if "x" in text.lower():
        return float.fromhex(text)
    return float(text)
