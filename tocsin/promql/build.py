"""Makes the nodes of a tree: checks types as Prometheus does, and gives each its key.

Source of the checks and their wording: prometheus/promql/parser/parse.go.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

import re2

from tocsin.errors import PromQLError
from tocsin.model import Matcher, MatchOp
from tocsin.promql.lexer import Token
from tocsin.promql.signatures import AGGREGATIONS, ANCHORED, FUNCTIONS, SMOOTHED
from tocsin.promql.syntax import (
    Aggregate,
    Anchor,
    Binary,
    Call,
    Duration,
    Matching,
    Node,
    Number,
    Paren,
    Selector,
    String,
    Subquery,
    Type,
    Unary,
    bare,
    short,
)

_SETS: Final = ("and", "or", "unless")
_COMPARISONS: Final = ("==", "!=", "<", "<=", ">", ">=")
_QUIET: Final = re2.Options()
_QUIET.log_errors = False


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


def compile_regex(pattern: str, position: int | None = None) -> re2._Regexp:
    """An anchored RE2 expression; `.` takes a newline, as in Prometheus. Raises PromQLError."""
    try:
        return re2.compile(f"^(?s:{pattern})$", options=_QUIET)
    except re2.error as error:
        raise PromQLError(f"error parsing regexp: {_reason(error)}: `{pattern}`", position=position) from None


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else error
    text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
    return re.sub(r"^b'|'$", "", text)


def selector(matchers: tuple[Matcher, ...], start: int, end: int) -> Selector:
    """`name{…}`; something must be asked for, or every series there is would match."""
    if not any(_asks(each) for each in matchers):
        raise PromQLError("vector selector must contain at least one non-empty matcher", position=start)
    return _keyed(
        Selector(start=start, end=end, type=Type.VECTOR, key="", depth=1, fixed=False, matchers=matchers)
    )  # fmt: skip


def label_selector(matchers: tuple[Matcher, ...], start: int, end: int) -> Selector:
    """The second argument of info(): matchers on the labels to join, which may match anything."""
    return _keyed(Selector(start=start, end=end, type=Type.VECTOR, key="", depth=1, fixed=False, matchers=matchers))


def _asks(each: Matcher) -> bool:
    match each.op:
        case MatchOp.EQUAL:
            return each.value != ""
        case MatchOp.NOT_EQUAL:
            return each.value == ""
        case MatchOp.REGEX:
            return compile_regex(each.value).fullmatch("") is None
        case _:
            return compile_regex(each.value).fullmatch("") is not None


def _keyed(node: Selector) -> Selector:
    matchers = ",".join(sorted(map(str, node.matchers)))
    key = f"{{{matchers}}}[{node.window or ''}]{node.offset or ''}@{node.at}{node.edges}"
    varies = (node.window is not None and not node.window.constant) or (
        node.offset is not None and not node.offset.constant
    )
    return replace(node, key=short(key), fixed=node.at is not None and not varies)


def ranged(node: Node, window: Duration, token: Token, end: int) -> Selector:
    """A range vector selector."""
    if not isinstance(node, Selector) or node.window is not None:
        raise PromQLError("ranges only allowed for vector selectors", position=token.start)
    if node.offset is not None:
        raise PromQLError("no offset modifiers allowed before range", position=token.start)
    if node.at is not None:
        raise PromQLError("no @ modifiers allowed before range", position=token.start)
    _check_window(window, token)
    return _keyed(replace(node, window=window, type=Type.MATRIX, end=end))


def _check_window(window: Duration, token: Token) -> None:
    if window.constant:
        try:
            seconds = window.seconds(0, 0)
        except (ZeroDivisionError, OverflowError, ValueError) as error:
            raise PromQLError(str(error), position=token.start) from None
        if not 0 < seconds < 9.2e9:
            raise PromQLError("duration must be greater than 0", position=token.start)


def subquery(node: Node, window: Duration, step: Duration | None, end: int) -> Subquery:
    """An expression evaluated at steps of its own."""
    if node.type is not Type.VECTOR:
        raise PromQLError(
            f"subquery is only allowed on instant vector, got {node.type.value} instead", position=node.start
        )
    token = Token(kind=None, text="", start=node.start, end=end)  # type: ignore[arg-type]
    _check_window(window, token)
    if step is not None:
        _check_window(step, token)
    return _subquery_keyed(
        Subquery(
            start=node.start, end=end, type=Type.MATRIX, key="", depth=node.depth + 1, fixed=False,
            expr=node, window=window, step=step,
        )
    )  # fmt: skip


def _subquery_keyed(node: Subquery) -> Subquery:
    key = f"{node.expr.key}[{node.window}:{node.step or ''}]{node.offset or ''}@{node.at}"
    durations = (node.window, node.step, node.offset)
    return replace(
        node, key=short(key), fixed=node.at is not None and all(each is None or each.constant for each in durations)
    )


def offset(node: Node, length: Duration, token: Token, end: int) -> Node:
    """`… offset 5m`."""
    if not isinstance(node, Selector | Subquery):
        raise PromQLError(
            "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            position=token.start,
        )
    if node.offset is not None:
        raise PromQLError("offset may not be set multiple times", position=token.start)
    if length.constant:
        try:
            length.seconds(0, 0)
        except (ZeroDivisionError, OverflowError, ValueError) as error:
            raise PromQLError(str(error), position=token.start) from None
    if isinstance(node, Selector):
        return _keyed(replace(node, offset=length, end=end))
    return _subquery_keyed(replace(node, offset=length, end=end))


def pinned(node: Node, instant: float | Anchor, token: Token, end: int) -> Node:
    """`… @ 1609746000`."""
    if not isinstance(node, Selector | Subquery):
        raise PromQLError(
            "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            position=token.start,
        )
    if node.at is not None:
        raise PromQLError("@ <timestamp> may not be set multiple times", position=token.start)
    if isinstance(node, Selector):
        return _keyed(replace(node, at=instant, end=end))
    return _subquery_keyed(replace(node, at=instant, end=end))


def edged(node: Node, token: Token) -> Selector:
    """`… anchored` and `… smoothed`."""
    word = token.text.lower()
    if not isinstance(node, Selector):
        raise PromQLError(
            f"{word} modifier must be preceded by an instant vector selector or range vector selector",
            position=token.start,
        )
    if node.edges:
        raise PromQLError("anchored and smoothed modifiers cannot be used together", position=token.start)
    if word == "anchored" and node.window is None:
        raise PromQLError("anchored modifier must be preceded by a range vector selector", position=token.start)
    return _keyed(replace(node, edges=word, end=token.end))
