"""Tokens → tree. Finds unknown functions, unknown variables and bad syntax before any alert needs the template.

The messages are Go's (`function "x" not defined`, `undefined variable "$x"`, `unexpected EOF` …), because that is
what people search for; `line` says where in the template.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from .constants import constant, unquote
from .lex import Kind, Lexer, Token, quote
from .nodes import (
    Action,
    Bool,
    Branch,
    Call,
    Chain,
    Command,
    Dot,
    End,
    Field,
    Identifier,
    Jump,
    Nil,
    Node,
    Number,
    Operand,
    Pipe,
    String,
    Text,
    Variable,
)

MAX_DEPTH: Final = 60
"""Deepest nesting of blocks and parentheses; no alert needs ten."""


class TemplateSyntax(Exception):
    """The template can't be parsed."""

    def __init__(self, name: str, line: int, what: str) -> None:
        super().__init__(f"template: {name}:{line}: {what}")
        self.line = line
        """From 1, in the template's text."""
        self.what = what


_OPERANDS: Final = frozenset(
    {
        Kind.BOOL, Kind.CHAR_CONSTANT, Kind.DOT, Kind.FIELD, Kind.IDENTIFIER, Kind.NUMBER, Kind.NIL, Kind.RAW_STRING,
        Kind.STRING, Kind.VARIABLE, Kind.LEFT_PAREN,
    }
)  # fmt: skip


class Parser:
    """One template text → its body and the templates that it defines."""

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

    def parse(self) -> list[Node]:
        """The body. Raises TemplateSyntax."""
        body: list[Node] = []
        while self._peek().kind is not Kind.EOF:
            if self._opens("define"):
                self._define()
                continue
            node = self._text_or_action()
            if isinstance(node, End):
                raise self._error(f"unexpected {node}")
            body.append(node)
        return body

    # Tokens --------------------------------------------------------------------------------------------------------

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

    # Blocks --------------------------------------------------------------------------------------------------------

    def _text_or_action(self) -> Node:
        token = self._next_solid()
        if token.kind is Kind.TEXT:
            return Text(token.at, token.text)
        if token.kind is Kind.LEFT:
            self._action_line = token.line
            node = self._action()
            self._action_line = 0
            return node
        raise self._unexpected(token, "input")

    def _action(self) -> Node:
        token = self._next_solid()
        if token.kind is not Kind.KEYWORD:
            self._at -= 1
            return Action(token.at, self._pipeline("command", Kind.RIGHT))
        match token.text:
            case "if" | "range" | "with":
                return self._branch(token)
            case "else":
                return self._else(token)
            case "end":
                self._expect(Kind.RIGHT, "end")
                return End(token.at, "end")
            case "template":
                return self._template_call()
            case "block":
                return self._block()
            case "break" | "continue":
                return self._jump(token)
        raise self._unexpected(token, "command")

    def _else(self, token: Token) -> Node:
        # `else if` and `else with` leave their keyword for the branch that they belong to.
        ahead = self._peek_solid()
        if not (ahead.kind is Kind.KEYWORD and ahead.text in ("if", "with")):
            self._expect(Kind.RIGHT, "else")
        return End(token.at, "else")

    def _jump(self, token: Token) -> Node:
        following = self._next_solid()
        if following.kind is not Kind.RIGHT:
            raise self._unexpected(following, "{{" + token.text + "}}")
        if not self._ranges:
            raise self._error("{{" + token.text + "}} outside {{range}}")
        return Jump(token.at, token.text)

    def _branch(self, token: Token) -> Branch:
        self._deeper()
        keyword, known = token.text, len(self._variables)
        pipe = self._pipeline(keyword, Kind.RIGHT)
        self._ranges += keyword == "range"
        body, end = self._list()
        self._ranges -= keyword == "range"
        otherwise: list[Node] | None = None
        if end.keyword == "else":
            ahead = self._peek()
            if keyword != "range" and ahead.kind is Kind.KEYWORD and ahead.text == keyword:
                otherwise = [self._branch(self._next())]
            elif ahead.kind is Kind.KEYWORD:
                raise self._unexpected(self._next(), "else")
            else:
                otherwise, end = self._list()
                if end.keyword != "end":
                    raise self._error(f"expected end; found {end}")
        del self._variables[known:]
        self._depth -= 1
        return Branch(pipe.at, keyword, pipe, body, otherwise)

    def _list(self) -> tuple[list[Node], End]:
        nodes: list[Node] = []
        while self._peek_solid().kind is not Kind.EOF:
            node = self._text_or_action()
            if isinstance(node, End):
                return nodes, node
            nodes.append(node)
        self._at += 1
        raise self._error("unexpected EOF")

    def _name_of(self, token: Token, context: str) -> str:
        if token.kind not in (Kind.STRING, Kind.RAW_STRING):
            raise self._unexpected(token, context)
        return self._unquoted(token)

    def _define(self) -> None:
        self._next()
        self._next_solid()
        name = self._name_of(self._next_solid(), "define clause")
        self._expect(Kind.RIGHT, "define clause")
        self._body_of(name, "define clause")

    def _body_of(self, name: str, context: str) -> None:
        """The body of a define or block: it sees no variable but `$`."""
        self._deeper()
        outer, self._variables = self._variables, ["$"]
        ranges, self._ranges = self._ranges, 0
        body, end = self._list()
        self._variables, self._ranges = outer, ranges
        self._depth -= 1
        if end.keyword != "end":
            raise self._error(f"unexpected {end} in {context}")
        self.defined[name] = body

    def _block(self) -> Node:
        named = self._next_solid()
        name = self._name_of(named, "block clause")
        pipe = self._pipeline("block clause", Kind.RIGHT)
        self._body_of(name, "block clause")
        return Call(named.at, named.text, name, pipe)

    def _template_call(self) -> Node:
        named = self._next_solid()
        name = self._name_of(named, "template clause")
        pipe: Pipe | None = None
        if self._peek_solid().kind is Kind.RIGHT:
            self._next()
        else:
            pipe = self._pipeline("template clause", Kind.RIGHT)
        return Call(named.at, named.text, name, pipe)

    # Pipelines -----------------------------------------------------------------------------------------------------

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
