"""Makes the nodes of a tree: checks types as Prometheus does, and gives each its key.

Source of the checks and their wording: prometheus/promql/parser/parse.go.
"""

from __future__ import annotations

from typing import Final

from tocsin.errors import PromQLError
from tocsin.model import Matcher, MatchOp
from tocsin.promql.lexer import Token
from tocsin.promql.matchers import compile_regex
from tocsin.promql.signatures import AGGREGATIONS, ANCHORED, FUNCTIONS, SMOOTHED
from tocsin.promql.syntax import (
    Aggregate,
    Binary,
    Call,
    Matching,
    Node,
    Number,
    Paren,
    Selector,
    String,
    Type,
    Unary,
    bare,
    short,
)

_SETS: Final = ("and", "or", "unless")
_COMPARISONS: Final = ("==", "!=", "<", "<=", ">", ">=")


def number(value: float, start: int, end: int) -> Number:
    """A literal."""
    return Number(start=start, end=end, type=Type.SCALAR, key=f"{value!r}", depth=1, fixed=True, value=value)


def string(value: str, start: int, end: int) -> String:
    """A literal."""
    return String(start=start, end=end, type=Type.STRING, key=f"{value!r}", depth=1, fixed=True, value=value)


def paren(expr: Node, start: int, end: int) -> Paren:
    """Parentheses: kept, since they say where an expression begins, but no part of the key."""
    return Paren(
        start=start, end=end, type=expr.type, key=expr.key, depth=expr.depth + 1, fixed=expr.fixed, expr=expr
    )  # fmt: skip


def unary(op: str, expr: Node, start: int) -> Node:
    """A sign. One before a literal becomes part of it."""
    if expr.type not in (Type.SCALAR, Type.VECTOR):
        raise PromQLError(
            f'unary expression only allowed on expressions of type scalar or instant vector, got "{expr.type.value}"',
            position=start,
        )
    if isinstance(expr, Number):
        return number(-expr.value if op == "-" else expr.value, start, expr.end)
    return Unary(
        start=start, end=expr.end, type=expr.type, key=short(f"({op}{expr.key})"), depth=expr.depth + 1,
        fixed=expr.fixed,
        op=op, expr=expr,
    )  # fmt: skip


def binary(op: str, left: Node, right: Node, bool_: bool, matching: Matching, token: Token) -> Binary:
    """An operator between two expressions."""
    types = (left.type, right.type)
    for side in (left, right):
        if side.type not in (Type.SCALAR, Type.VECTOR):
            raise PromQLError(
                "binary expression must contain only scalar and instant vector types", position=side.start
            )
    if op in _COMPARISONS and not bool_ and types == (Type.SCALAR, Type.SCALAR):
        raise PromQLError("comparisons between scalars must use BOOL modifier", position=token.start)
    if op in _SETS and Type.SCALAR in types:
        raise PromQLError(f'set operator "{op}" not allowed in binary scalar expression', position=token.start)
    vectors = types == (Type.VECTOR, Type.VECTOR)
    if not vectors:
        if matching.labels or matching.include:
            raise PromQLError("vector matching only allowed between instant vectors", position=token.start)
        if matching.fill_left is not None or matching.fill_right is not None:
            raise PromQLError("filling in missing series only allowed between instant vectors", position=token.start)
    how = matching if vectors else None
    key = f"({left.key} {op}{' bool' if bool_ else ''} {_matching_key(how)} {right.key})"
    return Binary(
        start=left.start, end=right.end, type=Type.VECTOR if Type.VECTOR in types else Type.SCALAR, key=short(key),
        depth=max(left.depth if isinstance(left, Binary) else left.depth + 1, right.depth + 1),
        fixed=left.fixed and right.fixed,
        op=op, left=left, right=right, bool_=bool_, matching=how,
    )  # fmt: skip


def _matching_key(matching: Matching | None) -> str:
    if matching is None:
        return ""
    parts = (matching.card, matching.on, matching.labels, matching.include, matching.fill_left, matching.fill_right)
    return repr(parts)


def call(name: str, args: tuple[Node, ...], start: int, end: int) -> Call:
    """A function of arguments of the right number and types."""
    signature = FUNCTIONS[name]
    wanted = signature.args
    least = len(wanted) - signature.optional
    if len(args) < least:
        at_least = signature.optional or signature.repeats
        raise PromQLError(
            f'expected {"at least " if at_least else ""}{least} argument(s) in call to "{name}", got {len(args)}',
            position=start,
        )
    if len(args) > len(wanted) and not signature.repeats:
        at_most = "at most " if signature.optional else ""
        raise PromQLError(
            f'expected {at_most}{len(wanted)} argument(s) in call to "{name}", got {len(args)}', position=start
        )
    for index, arg in enumerate(args):
        expected = wanted[min(index, len(wanted) - 1)]
        if arg.type is not expected:
            raise PromQLError(
                f'expected type {expected.value} in call to function "{name}", got {arg.type.value}',
                position=arg.start,
            )
    _check_edges(name, args)
    if name == "info" and len(args) > 1 and not isinstance(args[1], Selector):
        raise PromQLError("expected label selectors only, got vector selector instead", position=args[1].start)
    varies = name in ("time", "predict_linear", "timestamp") or (not args and name not in ("pi",))
    return Call(
        start=start, end=end, type=signature.returns, key=short(f"{name}({','.join(arg.key for arg in args)})"),
        depth=max((arg.depth for arg in args), default=0) + 1,
        fixed=not varies and all(arg.fixed for arg in args),
        function=name, args=args,
    )  # fmt: skip


def _check_edges(name: str, args: tuple[Node, ...]) -> None:
    for arg in args:
        inner = bare(arg)
        if not isinstance(inner, Selector) or inner.window is None or not inner.edges:
            continue
        allowed = SMOOTHED if inner.edges == "smoothed" else ANCHORED
        if name not in allowed:
            raise PromQLError(
                f"{inner.edges} modifier can only be used with: {', '.join(allowed)} - not with {name}",
                position=arg.start,
            )


def aggregate(
    op: str, args: tuple[Node, ...], labels: tuple[str, ...], without: bool, token: Token, end: int
) -> Aggregate:
    """An aggregation; its parameter comes before the vector."""
    wanted = AGGREGATIONS[op]
    count = 1 if wanted is None else 2
    if not args:
        raise PromQLError("no arguments for aggregate expression provided", position=token.start)
    if len(args) != count:
        raise PromQLError(
            f"wrong number of arguments for aggregate expression provided, expected {count}, got {len(args)}",
            position=token.start,
        )
    param, expr = (args[0] if wanted else None), args[-1]
    if expr.type is not Type.VECTOR:
        raise PromQLError(
            f"expected type instant vector in aggregation expression, got {expr.type.value}", position=expr.start
        )
    if param is not None and param.type is not wanted:
        assert wanted is not None
        raise PromQLError(
            f"expected type {wanted.value} in aggregation parameter, got {param.type.value}", position=param.start
        )
    key = f"{op}{'!' if without else ''}{labels!r}({','.join(arg.key for arg in args)})"
    return Aggregate(
        start=token.start, end=end, type=Type.VECTOR, key=short(key), depth=max(arg.depth for arg in args) + 1,
        fixed=all(arg.fixed for arg in args), op=op, expr=expr, param=param, labels=labels, without=without,
    )  # fmt: skip


def matcher(name: str, op: str, value: str, start: int) -> Matcher:
    """A matcher whose regular expression RE2 takes."""
    if not name:
        raise PromQLError("label name must not be empty", position=start)
    if op in ("=~", "!~"):
        compile_regex(value, start)
    return Matcher(name=name, op=MatchOp(op), value=value)
