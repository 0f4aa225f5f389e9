"""Duration expressions: `5m`, `2 * 30s`, `-(step() + 1m)`, `min(range(), 1h)`."""

from __future__ import annotations

from typing import Final

from tocsin.promql.cursor import Cursor
from tocsin.promql.lexer import Kind
from tocsin.promql.syntax import Duration

_LEVELS: Final = {"+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "^": 6}


class DurationParser(Cursor):
    """Precedence climbing over numbers of seconds and durations."""

    def duration(self, floor: int) -> Duration:
        """A duration expression: arithmetic on numbers of seconds and durations."""
        self.enter()
        left = self.duration_unit()
        while (level := _LEVELS.get(self.next.text, 0)) >= max(floor, 1) and self.next.kind is Kind.OPERATOR:
            op = self.take().text
            left = Duration(op, args=(left, self.duration(level if op == "^" else level + 1)))
        self.nested -= 1
        return left

    def duration_unit(self) -> Duration:
        token = self.next
        if self.accept("-"):
            return Duration("neg", args=(self.duration(_LEVELS["^"]),))
        if self.accept("+"):
            return self.duration(_LEVELS["^"])
        if self.accept("("):
            inner = self.duration(0)
            self.expect(")", "duration expression")
            return inner
        if token.kind is Kind.NUMBER:
            self.take()
            return Duration("number", token.value)
        if self.at("step", "range", "min", "max") and self.peek().text == "(":
            return self.duration_call(self.take().text.lower())
        raise self.unexpected("duration expression", "number, duration, or step()")

    def duration_call(self, name: str) -> Duration:
        self.expect("(", "duration expression")
        args: tuple[Duration, ...] = ()
        if name in ("min", "max"):
            first = self.duration(0)
            self.expect(",", "duration expression")
            args = (first, self.duration(0))
        self.expect(")", "duration expression")
        return Duration(name, args=args)

    def offset_length(self) -> Duration:
        """After `offset` only a signed number, a call or parentheses: `offset 1 + 2` adds to the vector."""
        if self.accept("-"):
            return Duration("neg", args=(self.duration_unit(),))
        self.accept("+")
        return self.duration_unit()
