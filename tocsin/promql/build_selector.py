"""Makes the selectors and subqueries of a tree, and puts range, offset, @ and edges on them.

Source of the checks and their wording: prometheus/promql/parser/parse.go.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tocsin.errors import PromQLError
from tocsin.model import Matcher
from tocsin.promql.lexer import Token
from tocsin.promql.matchers import matches
from tocsin.promql.syntax import Anchor, Duration, Node, Selector, Subquery, Type, short

_LONGEST: Final = 9.2e9
"""Seconds. Prometheus counts a duration's nanoseconds in 64 bits."""


def selector(matchers: tuple[Matcher, ...], start: int, end: int) -> Selector:
    """`name{…}`; something must be asked for, or every series there is would match."""
    if all(matches(each, "") for each in matchers):
        raise PromQLError("vector selector must contain at least one non-empty matcher", position=start)
    return _keyed(
        Selector(start=start, end=end, type=Type.VECTOR, key="", depth=1, fixed=False, matchers=matchers)
    )  # fmt: skip


def label_selector(matchers: tuple[Matcher, ...], start: int, end: int) -> Selector:
    """The second argument of info(): matchers on the labels to join, which may match anything."""
    return _keyed(Selector(start=start, end=end, type=Type.VECTOR, key="", depth=1, fixed=False, matchers=matchers))


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
        if seconds <= 0:
            raise PromQLError("duration must be greater than 0", position=token.start)
        if seconds >= _LONGEST:
            raise PromQLError("duration out of range: 291y at most", position=token.start)


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
