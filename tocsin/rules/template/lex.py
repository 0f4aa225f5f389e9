"""Text of a template → tokens, by the rules of Go's text/template.

Outside `{{ }}` everything is text. Inside, words, numbers, strings, `|`, `:=` and so on; space is a token, because
`$x.y` and `$x .y` differ. `{{- ` and ` -}}` eat the white space next to them.

Source of the grammar: the Go documentation of text/template; behaviour compared with promtool.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final


class Kind(Enum):
    """What a token is."""

    TEXT = auto()
    LEFT = auto()
    RIGHT = auto()
    SPACE = auto()
    IDENTIFIER = auto()
    KEYWORD = auto()
    FIELD = auto()
    VARIABLE = auto()
    DOT = auto()
    BOOL = auto()
    NIL = auto()
    NUMBER = auto()
    CHAR_CONSTANT = auto()
    STRING = auto()
    RAW_STRING = auto()
    PIPE = auto()
    ASSIGN = auto()
    DECLARE = auto()
    LEFT_PAREN = auto()
    RIGHT_PAREN = auto()
    CHAR = auto()
    ERROR = auto()
    EOF = auto()


KEYWORDS: Final = frozenset({"block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"})
_SPACE: Final = " \t\r\n"
_NUMBER: Final = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F_]*(?:\.[0-9a-fA-F_]*)?(?:[pP][+-]?[0-9_]+)?|0[oO][0-7_]*|0[bB][01_]*"
    r"|[0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]+)?)i?"
)


@dataclass(frozen=True, slots=True)
class Token:
    """A token, its offset in characters and its line from 1."""

    kind: Kind
    text: str
    at: int
    line: int

    def __str__(self) -> str:
        """As Go's parser names a token in a message."""
        if self.kind is Kind.EOF:
            return "EOF"
        if self.kind is Kind.ERROR:
            return self.text
        if self.kind in (Kind.KEYWORD, Kind.DOT, Kind.NIL):
            return f"<{self.text}>"
        quoted = quote(self.text[:10])
        return f"{quoted}..." if len(self.text) > 10 else quoted


def quote(text: str) -> str:
    """A Go string literal, as %q writes it."""
    escapes = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r", "\a": "\\a", "\b": "\\b"}
    escapes |= {"\f": "\\f", "\v": "\\v"}
    return '"' + "".join(escapes.get(char) or (char if char.isprintable() else _escaped(char)) for char in text) + '"'


def _escaped(char: str) -> str:
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _unicode(char: str) -> str:
    """Go's %#U."""
    if not char:
        return "U+0000"
    return f"U+{ord(char):04X}" + (f" '{char}'" if char.isprintable() and (char == " " or not char.isspace()) else "")


class _Failed(Exception):
    """Lexing ends here; the message is the last token."""


def is_word(char: str) -> bool:
    """A letter, digit or underscore in Go's sense."""
    return char == "_" or char.isalpha() or char.isdigit()


class Lexer:
    """Makes the tokens of one template. An error is the last token, so that an earlier parse error is told first."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._start = 0
        self._line = 1
        self._start_line = 1
        self._parens = 0
        self._tokens: list[Token] = []

    def tokens(self) -> list[Token]:
        """All tokens, closed by EOF or ERROR."""
        try:
            self._lex_text()
            self._emit(Kind.EOF)
        except _Failed as failed:
            self._tokens.append(Token(Kind.ERROR, str(failed), self._start, self._start_line))
        return self._tokens

    # The cursor ----------------------------------------------------------------------------------------------------

    def _peek(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._text[at] if at < len(self._text) else ""

    def _starts(self, prefix: str) -> bool:
        return self._text.startswith(prefix, self._at)

    def _skip(self) -> None:
        self._line += self._text.count("\n", self._start, self._at)
        self._start, self._start_line = self._at, self._line

    def _emit(self, kind: Kind) -> None:
        text = self._text[self._start : self._at]
        self._tokens.append(Token(kind, text, self._start, self._start_line))
        self._skip()

    def _fail(self, message: str) -> _Failed:
        return _Failed(message)

    # Outside an action ---------------------------------------------------------------------------------------------

    def _lex_text(self) -> None:
        while True:
            left = self._text.find("{{", self._at)
            if left < 0:
                self._at = len(self._text)
                if self._at > self._start:
                    self._emit(Kind.TEXT)
                return
            trims = self._text.startswith("-", left + 2) and self._text[left + 3 : left + 4] in tuple(_SPACE)
            end = left
            if trims:
                end = self._start + len(self._text[self._start : left].rstrip(_SPACE))
            self._at = end
            if end > self._start:
                self._emit(Kind.TEXT)
            self._at = left
            self._skip()
            self._lex_left(3 if trims else 0)

    def _lex_left(self, marker: int) -> None:
        if self._text.startswith("/*", self._at + 2 + (2 if marker else 0)):
            self._lex_comment(2 + (2 if marker else 0))
            return
        self._at += 2
        self._emit(Kind.LEFT)
        if marker:
            self._at += 2
            self._skip()
        self._parens = 0
        while self._lex_inside():
            pass

    def _lex_comment(self, lead: int) -> None:
        self._at += lead
        close = self._text.find("*/", self._at)
        if close < 0:
            raise self._fail("unclosed comment")
        self._at = close + 2
        if self._right_trims():
            self._at += 4
            self._trim_after()
        elif self._starts("}}"):
            self._at += 2
            self._skip()
        else:
            raise self._fail("comment ends before closing delimiter")

    def _right_trims(self) -> bool:
        return self._peek() in tuple(_SPACE) and self._text.startswith("-}}", self._at + 1)

    def _trim_after(self) -> None:
        while self._peek() in tuple(_SPACE):
            self._at += 1
        self._skip()

    def _lex_right(self) -> None:
        trims = self._right_trims()
        if trims:
            self._at += 2
            self._skip()
        self._at += 2
        self._emit(Kind.RIGHT)
        if trims:
            self._trim_after()

    # Inside an action ----------------------------------------------------------------------------------------------

    def _lex_inside(self) -> bool:
        """One token; False when the action has closed."""
        if self._starts("}}") or self._right_trims():
            if self._parens:
                raise self._fail("unclosed left paren")
            self._lex_right()
            return False
        char = self._peek()
        if char == "":
            raise self._fail("unclosed action")
        if char in _SPACE:
            self._lex_space()
        elif char in '"`':
            self._lex_quoted(char)
        elif char == "'":
            self._lex_char()
        elif char in "+-" or char in "0123456789" or (char == "." and self._peek(1) in tuple("0123456789")):
            self._lex_number()
        elif char in ".$":
            self._lex_dotted(char)
        elif is_word(char):
            self._lex_word()
        else:
            self._lex_sign(char)
        return True

    def _lex_space(self) -> None:
        while self._peek() in tuple(_SPACE):
            # The space before `-}}` belongs to the delimiter.
            if self._right_trims():
                break
            self._at += 1
        if self._at > self._start:
            self._emit(Kind.SPACE)

    def _lex_sign(self, char: str) -> None:
        self._at += 1
        if char == "=":
            self._emit(Kind.ASSIGN)
        elif char == ":":
            if self._peek() != "=":
                raise self._fail("expected :=")
            self._at += 1
            self._emit(Kind.DECLARE)
        elif char == "|":
            self._emit(Kind.PIPE)
        elif char == "(":
            self._parens += 1
            self._emit(Kind.LEFT_PAREN)
        elif char == ")":
            self._emit(Kind.RIGHT_PAREN)
            self._parens -= 1
            if self._parens < 0:
                raise self._fail("unexpected right paren")
        elif char.isascii() and char.isprintable():
            self._emit(Kind.CHAR)
        else:
            raise self._fail(f"unrecognized character in action: {_unicode(char)}")

    def _lex_quoted(self, mark: str) -> None:
        self._at += 1
        while (char := self._peek()) != mark:
            if char == "" or (mark == '"' and char == "\n"):
                raise self._fail(f"unterminated {'raw ' if mark == '`' else ''}quoted string")
            self._at += 2 if char == "\\" and mark == '"' else 1
        self._at += 1
        self._emit(Kind.STRING if mark == '"' else Kind.RAW_STRING)

    def _lex_char(self) -> None:
        self._at += 1
        while (char := self._peek()) != "'":
            if char in ("", "\n"):
                raise self._fail("unterminated character constant")
            self._at += 2 if char == "\\" else 1
        self._at += 1
        self._emit(Kind.CHAR_CONSTANT)

    def _lex_number(self) -> None:
        found = _NUMBER.match(self._text, self._at)
        self._at = found.end() if found else self._at + 1
        if is_word(self._peek()):
            self._at += 1
            raise self._fail(f"bad number syntax: {quote(self._text[self._start : self._at])}")
        self._emit(Kind.NUMBER)

    def _lex_dotted(self, char: str) -> None:
        """`.`, `.Field`, `$` or `$name`."""
        self._at += 1
        while is_word(self._peek()):
            self._at += 1
        self._need_terminator()
        bare = self._at == self._start + 1
        if char == "$":
            self._emit(Kind.VARIABLE)
        else:
            self._emit(Kind.DOT if bare else Kind.FIELD)

    def _lex_word(self) -> None:
        while is_word(self._peek()):
            self._at += 1
        self._need_terminator()
        word = self._text[self._start : self._at]
        if word in KEYWORDS:
            self._emit(Kind.KEYWORD)
        elif word == "nil":
            self._emit(Kind.NIL)
        elif word in ("true", "false"):
            self._emit(Kind.BOOL)
        else:
            self._emit(Kind.IDENTIFIER)

    def _need_terminator(self) -> None:
        char = self._peek()
        if char == "" or char in _SPACE or char in ".,|:()" or self._starts("}}"):
            return
        raise self._fail(f"bad character {_unicode(char)}")
