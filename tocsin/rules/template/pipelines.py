"""Tokens → pipelines: `$x := f "a" .Field | printf "%s"`, what stands between a template's braces.

The messages are Go's (`function "x" not defined`, `undefined variable "$x"` …), because that is what people search for.
"""

from __future__ import annotations

from typing import Final

from .constants import constant, unquote
from .cursor import Cursor
from .lex import Kind, Token, quote
from .nodes import Bool, Chain, Command, Dot, Field, Identifier, Nil, Number, Operand, Pipe, String, Variable

_OPERANDS: Final = frozenset(
    {
        Kind.BOOL, Kind.CHAR_CONSTANT, Kind.DOT, Kind.FIELD, Kind.IDENTIFIER, Kind.NUMBER, Kind.NIL, Kind.RAW_STRING,
        Kind.STRING, Kind.VARIABLE, Kind.LEFT_PAREN,
    }
)  # fmt: skip


class Pipelines(Cursor):
    """Reads pipelines, down to the single operand."""

    def _pipeline(self, context: str, end: Kind) -> Pipe:
        pipe = Pipe(self._peek_solid().at)
        self._declarations(pipe, context)
        while True:
            token = self._next_solid()
            if token.kind is end:
                self._check(pipe, context)
                return pipe
            if token.kind not in _OPERANDS:
                raise self._unexpected(token, context)
            self._at -= 1
            pipe.commands.append(self._command())

    def _declarations(self, pipe: Pipe, context: str) -> None:
        while self._peek_solid().kind is Kind.VARIABLE:
            mark = self._at
            variable = self._next()
            following = self._peek_solid()
            if following.kind in (Kind.ASSIGN, Kind.DECLARE):
                self._next()
                pipe.assigns = following.kind is Kind.ASSIGN
                self._declare(pipe, variable)
                return
            if not (following.kind is Kind.CHAR and following.text == ","):
                self._at = mark
                return
            self._next()
            self._declare(pipe, variable)
            if context != "range" or len(pipe.declared) >= 2:
                raise self._error(f"too many declarations in {context}")
            if self._peek_solid().kind not in (Kind.VARIABLE, Kind.RIGHT, Kind.RIGHT_PAREN):
                raise self._error("range can only initialize variables")

    def _declare(self, pipe: Pipe, variable: Token) -> None:
        pipe.declared.append(variable.text)
        self._variables.append(variable.text)

    def _check(self, pipe: Pipe, context: str) -> None:
        if not pipe.commands:
            raise self._error(f"missing value for {context}")
        for stage, command in enumerate(pipe.commands[1:], start=2):
            if isinstance(command.args[0], (Bool, Dot, Nil, Number, String)):
                raise self._error(f"non executable command in pipeline stage {stage}")

    def _command(self) -> Command:
        command = Command(self._peek_solid().at)
        while True:
            self._peek_solid()
            operand = self._operand()
            if operand is not None:
                command.args.append(operand)
            token = self._next()
            if token.kind is Kind.SPACE:
                continue
            if token.kind in (Kind.RIGHT, Kind.RIGHT_PAREN):
                self._at -= 1
            elif token.kind is not Kind.PIPE:
                raise self._unexpected(token, "operand")
            break
        if not command.args:
            raise self._error("empty command")
        return command

    def _operand(self) -> Operand | None:
        term = self._term()
        if term is None or self._peek().kind is not Kind.FIELD:
            return term
        at, names = self._peek().at, []
        while self._peek().kind is Kind.FIELD:
            names.append(self._next().text[1:])
        if isinstance(term, (Field, Variable)):
            return type(term)(at, [*term.names, *names])
        if isinstance(term, (Bool, String, Number, Nil, Dot)):
            raise self._error(f"unexpected . after term {quote(str(term))}")
        return Chain(at, term, names)

    def _term(self) -> Operand | None:
        token = self._next_solid()
        match token.kind:
            case Kind.IDENTIFIER:
                if token.text not in self._functions:
                    raise self._error(f"function {quote(token.text)} not defined")
                return Identifier(token.at, token.text)
            case Kind.DOT:
                return Dot(token.at)
            case Kind.NIL:
                return Nil(token.at)
            case Kind.VARIABLE:
                if token.text not in self._variables:
                    raise self._error(f"undefined variable {quote(token.text)}")
                return Variable(token.at, [token.text])
            case Kind.FIELD:
                return Field(token.at, [token.text[1:]])
            case Kind.BOOL:
                return Bool(token.at, token.text == "true")
            case Kind.NUMBER | Kind.CHAR_CONSTANT:
                value = constant(token.text)
                if value is None:
                    raise self._error(
                        f"bad number syntax: {quote(token.text)}"
                        if token.kind is Kind.NUMBER
                        else f"malformed character constant: {token.text}"
                    )
                return Number(token.at, token.text, value)
            case Kind.LEFT_PAREN:
                self._deeper()
                pipe = self._pipeline("parenthesized pipeline", Kind.RIGHT_PAREN)
                self._depth -= 1
                return pipe
            case Kind.STRING | Kind.RAW_STRING:
                return String(token.at, token.text, self._unquoted(token))
        self._at -= 1
        return None

    def _unquoted(self, token: Token) -> str:
        value = unquote(token.text)
        if value is None:
            raise self._error("invalid syntax")
        return value
