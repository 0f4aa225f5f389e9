"""The parts of a parsed expression.

Every node knows its offset in the text (for messages; it takes no part in equality) and its `key`: equal keys mean
equal results at equal times, which is what a Round shares by. Keys are built from the bottom up when a node is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b

from tocsin.model import Matcher


class Type(StrEnum):
    """What an expression yields."""

    SCALAR = "scalar"
    VECTOR = "instant vector"
    MATRIX = "range vector"
    STRING = "string"


@dataclass(frozen=True, slots=True)
class Duration:
    """A duration expression: seconds known, or worked out from the query's step and range when it is evaluated."""

    op: str
    """`number`, `step`, `range`, `neg`, `min`, `max`, or an arithmetic operator."""
    value: float = 0.0
    args: tuple[Duration, ...] = ()

    def seconds(self, step: float, span: float) -> float:
        """The length for a query of this `step` and `span` (end - start), both in seconds."""
        values = [arg.seconds(step, span) for arg in self.args]
        match self.op:
            case "number":
                return self.value
            case "step":
                return step
            case "range":
                return span
            case "neg":
                return -values[0]
            case "min":
                return min(values)
            case "max":
                return max(values)
            case "+":
                return values[0] + values[1]
            case "-":
                return values[0] - values[1]
            case "*":
                return values[0] * values[1]
            case "/" | "%" if values[1] == 0:
                raise ZeroDivisionError("division by zero" if self.op == "/" else "modulo by zero")
            case "/":
                return values[0] / values[1]
            case "%":
                # Go's math.Mod: the sign of the dividend.
                return abs(values[0]) % abs(values[1]) * (1 if values[0] >= 0 else -1)
            case _:
                power = values[0] ** values[1]
                if isinstance(power, complex):
                    raise ValueError("root of a negative duration")
                return float(power)

    @property
    def constant(self) -> bool:
        """True when neither the query's step nor its range is named."""
        return self.op not in ("step", "range") and all(arg.constant for arg in self.args)

    def __str__(self) -> str:
        return f"{self.op}{self.value or ''}({','.join(map(str, self.args))})"


class Anchor(StrEnum):
    """What an `@` names instead of a time."""

    START = "start"
    END = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A part of an expression."""

    start: int = field(compare=False)
    end: int = field(compare=False)
    type: Type
    key: str
    depth: int
    """Levels below and with this one; a chain of operators is one level."""
    fixed: bool
    """The same at every step: literals, and selectors pinned with `@`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Number(Node):
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class String(Node):
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector(Node):
    """`name{matchers}`; with `window` a range vector."""

    matchers: tuple[Matcher, ...]
    window: Duration | None = None
    offset: Duration | None = None
    at: float | Anchor | None = None
    """Seconds since the epoch, or the query's start or end."""
    edges: str = ""
    """`anchored`, `smoothed`, or empty."""

    @property
    def name(self) -> str | None:
        """The metric's name, where one is asked for by equality."""
        for matcher in self.matchers:
            if matcher.name == "__name__" and matcher.op == "=":
                return matcher.value
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subquery(Node):
    expr: Node
    window: Duration
    step: Duration | None
    offset: Duration | None = None
    at: float | Anchor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Node):
    function: str
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate(Node):
    op: str
    expr: Node
    param: Node | None
    labels: tuple[str, ...]
    without: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """How the two sides of a binary operator find each other."""

    card: str = "one-to-one"
    """one-to-one, many-to-one (group_left), one-to-many (group_right), many-to-many (set operators)."""
    on: bool = False
    labels: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    fill_left: float | None = None
    fill_right: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Binary(Node):
    op: str
    left: Node
    right: Node
    bool_: bool
    matching: Matching | None
    """None unless both sides are vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unary(Node):
    op: str
    expr: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class Paren(Node):
    expr: Node


def bare(node: Node) -> Node:
    """`node` without parentheses around it."""
    while isinstance(node, Paren):
        node = node.expr
    return node


def children(node: Node) -> tuple[Node, ...]:
    """The expressions right below `node`."""
    match node:
        case Paren() | Unary() | Subquery():
            return (node.expr,)
        case Binary():
            return (node.left, node.right)
        case Call():
            return node.args
        case Aggregate():
            return (node.expr,) if node.param is None else (node.param, node.expr)
        case _:
            return ()


def walk(tree: Node) -> Iterator[Node]:
    """Every node, parents first, left to right; without recursion, for chains may be long."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(children(node)))


def deepest(node: Node, own: Callable[[Node], float]) -> float:
    """The greatest sum of what `own` says of each node on one way down from `node`."""
    return own(node) + max((deepest(child, own) for child in children(node)), default=0.0)


def selectors(tree: Node) -> tuple[Selector, ...]:
    """Every selector, left to right."""
    return tuple(node for node in walk(tree) if isinstance(node, Selector))


def spine(node: Node) -> list[Binary]:
    """The operators of the chain `a + b + c …` that ends in `node`, the innermost first."""
    found: list[Binary] = []
    while isinstance(node, Binary):
        found.append(node)
        node = node.left
    found.reverse()
    return found


_SHORT = 160


def short(key: str) -> str:
    """A key that stays short however large the expression is."""
    return key if len(key) <= _SHORT else blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
