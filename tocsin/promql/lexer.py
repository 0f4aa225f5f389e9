"""PromQL text to tokens.

A token keeps its offset, so that every error and annotation can say where it is about. Numbers and durations are one
kind (`1h30m` is 5400), as in Prometheus 3. Keywords are not told apart here: a metric may be called `sum`, and the
parser knows from the place what a word means.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from tocsin.errors import PromQLError


class Kind(Enum):
    """What a token is."""

    WORD = auto()
    NUMBER = auto()
    STRING = auto()
    OPERATOR = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the text. `text` is as written, but for strings, where it is the value."""

    kind: Kind
    text: str
    start: int
    end: int
    value: float = 0.0
    """Of a number; of a duration in seconds."""
    duration: bool = False
    """Written with units."""


_SPACE: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)+")
_WORD: Final = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_DURATION: Final = re.compile(
    r"(?=\d)(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?(?![A-Za-z0-9_.])",
    re.ASCII,
)
_UNITS: Final = (31_536_000_000, 604_800_000, 86_400_000, 3_600_000, 60_000, 1_000, 1)
_FIGURES: Final = "0123456789"
_DIGITS: Final = 15
_NUMBER: Final = re.compile(
    r"0[xX][0-9a-fA-F]+(?:_[0-9a-fA-F]+)*|(?:\d+(?:_\d+)*(?:\.(?:\d+(?:_\d+)*)?)?|\.\d+(?:_\d+)*)(?:[eE][+-]?\d+)?",
    re.ASCII,
)
_OPERATOR: Final = re.compile(r"==|!=|=~|!~|>=|<=|[-+*/%^<>=(){}\[\],:@]")
_ESCAPES: Final = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, "'": 39, '"': 34}
_CODED: Final = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})")


def tokens(text: str) -> list[Token]:
    """All tokens, the last of kind END. Raises PromQLError."""
    found: list[Token] = []
    at, depth, brackets = 0, len(text), 0
    while True:
        if space := _SPACE.match(text, at):
            at = space.end()
        if at >= depth:
            found.append(Token(Kind.END, "", at, at))
            return found
        char = text[at]
        # Inside [...] a colon parts range and step: it is no part of a word there.
        if char == ":" and brackets:
            token = Token(Kind.OPERATOR, char, at, at + 1)
        elif word := _WORD.match(text, at):
            token = Token(Kind.WORD, word.group(), at, word.end())
        elif char in "\"'`":
            token = _string(text, at)
        elif char in _FIGURES or (char == "." and text[at + 1 : at + 2] in _FIGURES and at + 1 < depth):
            token = _number(text, at)
        elif operator := _OPERATOR.match(text, at):
            token = Token(Kind.OPERATOR, operator.group(), at, operator.end())
            brackets += (char == "[") - (char == "]")
        else:
            raise PromQLError(f"unexpected character: {char!r}", position=at)
        found.append(token)
        at = token.end


def _number(text: str, at: int) -> Token:
    duration = _DURATION.match(text, at)
    if duration and duration.group():
        if any(len(count) > _DIGITS for count in duration.groups("")):
            raise PromQLError("duration out of range", position=at)
        pairs = zip(duration.groups(), _UNITS, strict=True)
        value = sum(int(count) * unit for count, unit in pairs if count) / 1000
        return Token(Kind.NUMBER, duration.group(), at, duration.end(), value, duration=True)
    number = _NUMBER.match(text, at)
    assert number is not None
    written, end = number.group(), number.end()
    if end < len(text) and (text[end].isalnum() or text[end] in "_."):
        stop = re.compile(r"[A-Za-z0-9_.]*").match(text, at)
        assert stop is not None
        raise PromQLError(f"bad number or duration syntax: {stop.group()!r}", position=at)
    try:
        return Token(Kind.NUMBER, written, at, end, _value(written.replace("_", "")))
    except (ValueError, OverflowError):
        raise PromQLError(f"error parsing number: {written[:40]}", position=at) from None


def _value(plain: str) -> float:
    if plain[:2].lower() == "0x":
        return float(int(plain, 16))
    if plain.isdigit() and plain[0] == "0" and len(plain) > 1 and not set(plain) & {"8", "9"}:
        return float(int(plain, 8))  # As Go's strconv.ParseInt with base 0 reads it.
    return float(plain)


def _string(text: str, at: int) -> Token:
    quote = text[at]
    if quote == "`":
        end = text.find("`", at + 1)
        if end < 0:
            raise PromQLError("unterminated raw string", position=at)
        return Token(Kind.STRING, text[at + 1 : end], at, end + 1)
    raw = bytearray()
    position = at + 1
    while True:
        if position >= len(text) or text[position] == "\n":
            raise PromQLError("unterminated quoted string", position=at)
        char = text[position]
        if char == quote:
            # Bytes that are no UTF-8 (`"\xff"`) are kept as lone surrogates, to be refused where a name is wanted.
            return Token(Kind.STRING, raw.decode("utf-8", "surrogateescape"), at, position + 1)
        if char != "\\":
            raw += char.encode("utf-8", "surrogatepass")
            position += 1
            continue
        following = text[position + 1 : position + 2]
        if following in _ESCAPES and following:
            raw.append(_ESCAPES[following])
            position += 2
        elif coded := _CODED.match(text, position + 1):
            raw += _coded(coded, position)
            position = coded.end()
        else:
            raise PromQLError(f"unknown escape sequence U+{ord(following or ' '):04X} {following!r}", position=position)


def _coded(match: re.Match[str], at: int) -> bytes:
    byte, short, long, octal = match.groups()
    if byte or octal:
        value = int(byte, 16) if byte else int(octal, 8)
        if value > 255:
            raise PromQLError("escape sequence is an invalid Unicode code point", position=at)
        return bytes([value])
    value = int(short or long, 16)
    if value > 0x10FFFF or 0xD800 <= value < 0xE000:
        raise PromQLError("escape sequence is an invalid Unicode code point", position=at)
    return chr(value).encode()
