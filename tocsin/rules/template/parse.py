"""Tokens → tree. Finds unknown functions, unknown variables and bad syntax before any alert needs the template.

The messages are Go's (`unexpected EOF` …), because that is what people search for; `line` says where in the template.
"""

from __future__ import annotations

from .cursor import TemplateSyntax
from .lex import Kind, Token
from .nodes import Action, Branch, Call, End, Jump, Node, Pipe, Text
from .pipelines import Pipelines


class Parser(Pipelines):
    """One template text → its body and the templates that it defines."""

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


__all__ = ["Parser", "TemplateSyntax"]
