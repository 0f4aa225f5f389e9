"""Where the parser of a template stands among its tokens, and what it says of one that it did not expect."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from .lex import Kind, Lexer, Token
from .nodes import Node

MAX_DEPTH: Final = 60
"""Deepest nesting of blocks and parentheses; no alert needs ten."""


class TemplateSyntax(Exception):
    """The template can't be parsed."""

    def __init__(self, name: str, line: int, what: str) -> None:
        super().__init__(f"template: {name}:{line}: {what}")
        self.line = line
        """From 1, in the template's text."""
        self.what = what


class Cursor:
    """The tokens of one template, the functions and variables that are known, and how deep the parser is."""

    def __init__(self, name: str, text: str, functions: Collection[str], variables: Sequence[str]) -> None:
        self._name = name
        self._functions = functions
        self._tokens = Lexer(text).tokens()
        self._at = 0
        self._variables = ["$", *variables]
        self._ranges = 0
        self._depth = 0
        self._action_line = 0
        self.defined: dict[str, list[Node]] = {}

    def _peek(self) -> Token:
        return self._tokens[min(self._at, len(self._tokens) - 1)]

    def _next(self) -> Token:
        token = self._peek()
        self._at += 1
        return token

    def _peek_solid(self) -> Token:
        while self._peek().kind is Kind.SPACE:
            self._at += 1
        return self._peek()

    def _next_solid(self) -> Token:
        self._peek_solid()
        return self._next()

    def _opens(self, keyword: str) -> bool:
        if self._peek().kind is not Kind.LEFT:
            return False
        at = self._at + 1
        while at < len(self._tokens) and self._tokens[at].kind is Kind.SPACE:
            at += 1
        return at < len(self._tokens) and self._tokens[at].kind is Kind.KEYWORD and self._tokens[at].text == keyword

    def _error(self, what: str) -> TemplateSyntax:
        last = self._tokens[min(max(self._at - 1, 0), len(self._tokens) - 1)]
        return TemplateSyntax(self._name, last.line, what)

    def _unexpected(self, token: Token, context: str) -> TemplateSyntax:
        if token.kind is Kind.ERROR:
            extra = ""
            if self._action_line and self._action_line != token.line:
                extra = f" in action started at {self._name}:{self._action_line}"
                if token.text.endswith(" action"):
                    extra = extra.removeprefix(" in action")
            return TemplateSyntax(self._name, token.line, token.text + extra)
        return self._error(f"unexpected {token} in {context}")

    def _expect(self, kind: Kind, context: str) -> Token:
        token = self._next_solid()
        if token.kind is not kind:
            raise self._unexpected(token, context)
        return token

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f"nested deeper than {MAX_DEPTH} levels")
