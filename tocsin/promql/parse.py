"""PromQL text to a typed tree, with Prometheus' precedence and wording.

The grammar is the one of Prometheus 3 with its experimental parts: duration expressions, `fill` modifiers, `anchored`
and `smoothed` edges, quoted (UTF-8) names. A parser of our own, because the ones at hand crash the process on a long
chain, panic on some numbers, lack the newest syntax, and give no positions for annotations.

Hostile text is refused before it costs anything: `MAX_LENGTH` characters, `MAX_DEPTH` levels of the tree.

Source of the grammar: prometheus/promql/parser/generated_parser.y.
"""

from __future__ import annotations

from typing import Final

from tocsin.errors import PromQLError
from tocsin.model import Matcher, MatchOp
from tocsin.promql import build, build_selector
from tocsin.promql.cursor import MAX_DEPTH as MAX_DEPTH
from tocsin.promql.lexer import Kind, Token
from tocsin.promql.parse_duration import DurationParser
from tocsin.promql.signatures import AGGREGATIONS, FUNCTIONS
from tocsin.promql.syntax import Anchor, Call, Matching, Node, Selector, Subquery, walk

MAX_LENGTH: Final = 65_536
MAX_TOKENS: Final = 10_000

_LEVELS: Final = {
    "or": 1, "and": 2, "unless": 2,
    "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3,
    "+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "atan2": 5, "^": 6,
}  # fmt: skip
_SETS: Final = ("and", "or", "unless")
_COMPARISONS: Final = ("==", "!=", "<", "<=", ">", ">=")


def parse(text: str) -> Node:
    """The tree of `text`. Raises PromQLError with the offset of what is wrong."""
    if len(text) > MAX_LENGTH:
        raise PromQLError(f"expression has {len(text)} characters, more than the {MAX_LENGTH} allowed; split the rule")
    parser = _Parser(text)
    if len(parser.tokens) == 1:
        raise PromQLError("no expression found in input", position=0)
    if len(parser.tokens) > MAX_TOKENS:
        raise PromQLError(f"expression has more than the {MAX_TOKENS} words and signs allowed; split the rule")
    try:
        tree = parser.expression(0)
    except RecursionError:
        raise PromQLError("expression is nested too deeply; split it with recording rules") from None
    if parser.next.kind is not Kind.END:
        raise parser.unexpected("")
    return tree


class _Parser(DurationParser):
    """Precedence climbing over the tokens."""

    # Expressions -----------------------------------------------------------------------------------------------------

    def expression(self, floor: int) -> Node:
        """Operators of precedence `floor` and above."""
        self.enter()
        left = self.unary()
        while True:
            op = self.next.text.lower() if self.next.kind in (Kind.OPERATOR, Kind.WORD) else ""
            level = _LEVELS.get(op, 0)
            if not level or level < floor:
                break
            token = self.take()
            bool_, matching = self.modifiers(op, token)
            # ^ associates to the right, all others to the left.
            right = self.expression(level if op == "^" else level + 1)
            left = self.bounded(build.binary(op, left, right, bool_, matching, token))
        self.nested -= 1
        return left

    def bounded(self, node: Node) -> Node:
        if node.depth > MAX_DEPTH:
            raise PromQLError(
                f"expression has more than the {MAX_DEPTH} levels allowed; split it with recording rules",
                position=node.start,
            )
        return node

    def unary(self) -> Node:
        if sign := self.accept("+", "-"):
            # A sign binds tighter than * but looser than ^.
            return self.bounded(build.unary(sign.text, self.expression(_LEVELS["^"]), sign.start))
        return self.postfix(self.primary())

    def primary(self) -> Node:
        token = self.next
        if token.kind is Kind.NUMBER:
            self.take()
            return build.number(token.value, token.start, token.end)
        if token.kind is Kind.STRING:
            self.take()
            return build.string(token.text, token.start, token.end)
        if self.accept("("):
            inner = self.expression(0)
            close = self.expect(")", "parenthesised expression")
            return self.bounded(build.paren(inner, token.start, close.end))
        if self.at("{"):
            return self.selector(None)
        if token.kind is Kind.WORD:
            return self.word(token)
        raise self.unexpected("")
        return None

    def word(self, token: Token) -> Node:
        """A name: of a number, an aggregation, a function, or a metric."""
        name = token.text.lower()
        following = self.peek()
        opens = following.kind is Kind.OPERATOR and following.text == "("
        if name in AGGREGATIONS and (opens or following.text.lower() in ("by", "without")):
            return self.aggregate()
        if opens and not (name in _SETS or name in ("by", "on")):
            if token.text not in FUNCTIONS:
                raise PromQLError(f'unknown function with name "{token.text}"', position=token.start)
            return self.call()
        if name in ("inf", "nan"):
            self.take()
            return build.number(float(name), token.start, token.end)
        if name in _LEVELS or name in ("bool", "ignoring", "on", "group_left", "group_right"):
            raise self.unexpected("")
        return self.selector(self.take())

    def call(self) -> Call:
        token = self.take()
        args = self.arguments(token.text)
        return build.call(token.text, args, token.start, self.tokens[self.index - 1].end)

    def arguments(self, function: str = "") -> tuple[Node, ...]:
        self.expect("(", "function call")
        args: list[Node] = []
        while not self.at(")"):
            # The second argument of info() only narrows labels, so it may match everything.
            self.lenient = function == "info" and bool(args) and self.at("{")
            args.append(self.expression(0))
            if not self.accept(","):
                break
            if self.at(")"):
                raise PromQLError("trailing commas not allowed in function call args", position=self.next.start)
        self.expect(")", "function call")
        return tuple(args)

    def aggregate(self) -> Node:
        token = self.take()
        grouping = self.grouping()
        args = self.arguments()
        if grouping is None:
            grouping = self.grouping()
        labels, without = grouping or ((), False)
        return build.aggregate(token.text.lower(), args, labels, without, token, self.tokens[self.index - 1].end)

    def grouping(self) -> tuple[tuple[str, ...], bool] | None:
        if word := self.accept("by", "without"):
            return self.labels("grouping opts"), word.text.lower() == "without"
        return None

    def labels(self, where: str) -> tuple[str, ...]:
        """A list of label names in parentheses."""
        self.expect("(", where)
        names: list[str] = []
        while not self.at(")"):
            token = self.next
            if (token.kind is Kind.WORD and ":" not in token.text) or (token.kind is Kind.STRING and token.text):
                names.append(self.take().text)
            else:
                raise self.unexpected(where, "label")
            if not self.accept(","):
                break
        self.expect(")", where)
        return tuple(names)

    def modifiers(self, op: str, token: Token) -> tuple[bool, Matching]:
        """What may stand between a binary operator and its right side."""
        bool_ = False
        if self.accept("bool"):
            if op not in _COMPARISONS:
                raise PromQLError("bool modifier can only be used on comparison operators", position=token.start)
            bool_ = True
        on, card = False, "one-to-one"
        names: tuple[str, ...] = ()
        include: tuple[str, ...] = ()
        if op in _SETS:
            card = "many-to-many"
        if word := self.accept("on", "ignoring"):
            on, names = word.text.lower() == "on", self.labels("grouping opts")
        if side := self.accept("group_left", "group_right"):
            if not word:
                raise PromQLError(f'unexpected "{side.text}" without on() or ignoring()', position=side.start)
            if op in _SETS:
                raise PromQLError(f'no grouping allowed for "{op}" operation', position=side.start)
            card = "many-to-one" if side.text.lower() == "group_left" else "one-to-many"
            include = self.labels("grouping opts") if self.at("(") else ()
            if on and (both := set(names) & set(include)):
                raise PromQLError(
                    f'label "{sorted(both)[0]}" must not occur in ON and GROUP clause at once', position=side.start
                )
        fills: dict[str, float] = {}
        while self.at("fill", "fill_left", "fill_right") and self.peek().text == "(":
            side = self.take()
            if op in _SETS:
                raise PromQLError(
                    f'filling in missing series not allowed for set operators "{op}"', position=side.start
                )
            for which in ("left", "right") if side.text.lower() == "fill" else (side.text.lower()[5:],):
                fills[which] = 0.0
            value = self.fill()
            for which in ("left", "right") if side.text.lower() == "fill" else (side.text.lower()[5:],):
                fills[which] = value
        return bool_, Matching(
            card=card, on=on, labels=names, include=include, fill_left=fills.get("left"), fill_right=fills.get("right")
        )

    def fill(self) -> float:
        self.expect("(", "fill modifier")
        sign = -1.0 if self.accept("-") else 1.0
        self.accept("+")
        token = self.take()
        if token.kind is Kind.WORD and token.text.lower() in ("inf", "nan"):
            value = float(token.text)
        elif token.kind is Kind.NUMBER:
            value = token.value
        else:
            raise PromQLError("fill modifier takes a number", position=token.start)
        self.expect(")", "fill modifier")
        return sign * value

    # Selectors -------------------------------------------------------------------------------------------------------

    def selector(self, name: Token | None) -> Selector:
        start = (name or self.next).start
        end = name.end if name else start
        matchers: list[Matcher] = []
        if name:
            matchers.append(Matcher(name="__name__", op=MatchOp.EQUAL, value=name.text))
        if self.accept("{"):
            while not self.at("}"):
                matchers.append(self.matcher(bool(name), matchers))
                if not self.accept(","):
                    break
            end = self.expect("}", "label matching").end
        lenient, self.lenient = self.lenient, False
        return (build_selector.label_selector if lenient else build_selector.selector)(tuple(matchers), start, end)

    def matcher(self, named: bool, before: list[Matcher]) -> Matcher:
        token = self.next
        if token.kind not in (Kind.WORD, Kind.STRING) or (token.kind is Kind.WORD and ":" in token.text):
            raise self.unexpected("label matching", 'identifier or "}"')
        self.take()
        if token.kind is Kind.STRING and self.at(",", "}"):
            if named or any(m.name == "__name__" for m in before):
                raise PromQLError(f'metric name must not be set twice: "{token.text}"', position=token.start)
            return Matcher(name="__name__", op=MatchOp.EQUAL, value=token.text)
        if not self.at("=", "!=", "=~", "!~"):
            raise self.unexpected("label matching", "label matching operator")
        op = self.take()
        value = self.next
        if value.kind is not Kind.STRING:
            raise self.unexpected("label matching", "string")
        self.take()
        if named and token.text == "__name__":
            raise PromQLError(f'metric name must not be set twice: "{value.text}"', position=token.start)
        return build.matcher(token.text, op.text, value.text, token.start)

    def postfix(self, node: Node) -> Node:
        """Range, subquery, offset, @, anchored and smoothed, in any sensible order."""
        while True:
            token = self.next
            if self.accept("["):
                node = self.bounded(self.brackets(node, token))
            elif self.accept("offset"):
                node = build_selector.offset(node, self.offset_length(), token, self.tokens[self.index - 1].end)
            elif self.accept("@"):
                node = build_selector.pinned(node, self.instant(), token, self.tokens[self.index - 1].end)
            elif self.at("anchored", "smoothed"):
                self.take()
                node = build_selector.edged(node, token)
            else:
                return node

    def brackets(self, node: Node, token: Token) -> Selector | Subquery:
        window = self.duration(0)
        if self.accept(":"):
            step = None if self.at("]") else self.duration(0)
            close = self.expect("]", "subquery selector")
            return build_selector.subquery(node, window, step, close.end)
        close = self.expect("]", "subquery or range")
        return build_selector.ranged(node, window, token, close.end)

    def instant(self) -> float | Anchor:
        for anchor in Anchor:
            if self.at(anchor.value) and self.peek().text == "(":
                self.take()
                self.expect("(", "@")
                self.expect(")", "@")
                return anchor
        sign = -1.0 if self.accept("-") else 1.0
        self.accept("+")
        token = self.take()
        if token.kind is Kind.WORD and token.text.lower() in ("inf", "nan"):
            raise PromQLError("timestamp out of bounds for @ modifier: " + token.text, position=token.start)
        if token.kind is not Kind.NUMBER:
            raise PromQLError("expected timestamp, start() or end() after @", position=token.start)
        if token.value > 9.2e15:
            raise PromQLError(f"timestamp out of bounds for @ modifier: {token.text}", position=token.start)
        return sign * token.value


def metric_names(tree: Node) -> frozenset[str] | None:
    """The names of the metrics that `tree` reads; None when a selector asks for any name."""
    reads: set[str] = set()
    for node in walk(tree):
        if isinstance(node, Selector):
            if node.name is None:
                return None
            reads.add(node.name)
        elif isinstance(node, Call) and node.function == "info" and len(node.args) == 1:
            reads.add("target_info")
    return frozenset(reads)
