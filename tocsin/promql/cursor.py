"""Where a parser stands in the tokens: look, take, expect, refuse."""

from __future__ import annotations

from typing import Final

from tocsin.errors import PromQLError
from tocsin.promql.lexer import Kind, Token, tokens

MAX_DEPTH: Final = 80
"""Levels of the tree: each takes some Python frames to parse and to evaluate. A chain `a + b + c …` is one level."""


class Cursor:
    """The tokens of a text, and which comes next."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokens(text)
        self.index = 0
        self.nested = 0
        self.lenient = False

    @property
    def next(self) -> Token:
        return self.tokens[self.index]

    def peek(self, ahead: int = 1) -> Token:
        return self.tokens[min(self.index + ahead, len(self.tokens) - 1)]

    def take(self) -> Token:
        token = self.next
        if token.kind is not Kind.END:
            self.index += 1
        return token

    def at(self, *texts: str) -> bool:
        """True when the next token is one of these operators, or words in any case."""
        token = self.next
        if token.kind is Kind.OPERATOR:
            return token.text in texts
        return token.kind is Kind.WORD and token.text.lower() in texts

    def accept(self, *texts: str) -> Token | None:
        return self.take() if self.at(*texts) else None

    def expect(self, text: str, where: str) -> Token:
        if not self.at(text):
            raise self.unexpected(where, f'"{text}"')
        return self.take()

    def unexpected(self, where: str, wanted: str = "") -> PromQLError:
        token = self.next
        shown = "end of input" if token.kind is Kind.END else f'"{self.text[token.start : token.end]}"'
        message = f"unexpected {shown}" + (f" in {where}" if where else "") + (f", expected {wanted}" if wanted else "")
        return PromQLError(message, position=token.start)

    def enter(self) -> None:
        self.nested += 1
        if self.nested > MAX_DEPTH:
            raise PromQLError(
                f"expression is nested deeper than the {MAX_DEPTH} levels allowed; split it with recording rules",
                position=self.next.start,
            )
