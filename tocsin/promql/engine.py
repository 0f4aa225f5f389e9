"""Evaluates a tree at some steps.

One `Engine` serves one query, or one round of rules. Every vector expression becomes a `Grid` of n series at T steps;
equal sub-expressions at equal steps are worked out once. Annotations are kept with the part that made them, relative
to where it begins, so that a shared part speaks of the right place in each expression that shares it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from tocsin.errors import EvaluationError
from tocsin.model import Matcher
from tocsin.promql.frame import Dictionary, Frame
from tocsin.promql.limits import Limits
from tocsin.promql.storage import Floats, Millis, Panel, Storage
from tocsin.promql.subquery import as_panels
from tocsin.promql.syntax import Anchor, Binary, Duration, Node, Number, Paren, Selector, String, Subquery, bare, spine
from tocsin.promql.vector import Grid, joined, tidy
from tocsin.promql.window import Block, Field, newest, rows_until, without_stale

LOOKBACK_MS = 300_000
"""How old a sample may be and still count as current. Source: Prometheus' --query.lookback-delta."""

_FAR = 10**18
"""Milliseconds that no sum of a few overflows 64 bits with."""

SUBQUERY_STEP_MS = 60_000
"""A subquery's step where none is given. Source: Prometheus' global evaluation_interval default."""

Value = Grid | Floats | str
"""A vector, a scalar per step, or a string."""


@dataclass(frozen=True, slots=True)
class Steps:
    """When to evaluate: T instants, `step` apart."""

    first: int
    step: int
    count: int

    @property
    def times(self) -> Millis:
        """[T] milliseconds; read only"""
        return _instants(self.first, self.step, self.count)

    @property
    def last(self) -> int:
        return self.first + self.step * (self.count - 1)


@lru_cache(256)
def _instants(first: int, step: int, count: int) -> Millis:
    times = first + step * np.arange(count, dtype=np.int64)
    times.flags.writeable = False
    return times


@dataclass(frozen=True, slots=True)
class Note:
    """An annotation: `offset` characters after the start of the node that it is kept with."""

    warning: bool
    text: str
    offset: int


class Engine:
    """Evaluates expressions over one storage for one query range."""

    def __init__(
        self,
        storage: Storage,
        query: Steps,
        limits: Limits,
        dispatch: Callable[[Engine, Node, Steps], Value],
        *,
        lookback: int = LOOKBACK_MS,
        subquery_step: int = SUBQUERY_STEP_MS,
        ranged: bool = False,
    ) -> None:
        self.dispatch = dispatch
        self.storage = storage
        self.query = query
        self.limits = limits
        self.lookback = lookback
        self.subquery_step = subquery_step
        self.ranged = ranged
        """A range query: results are ordered by labels, so sort() has no effect."""
        self._done: dict[tuple[str, Steps], tuple[Value, tuple[Note, ...]]] = {}
        self._panels: dict[tuple[tuple[Matcher, ...], int, int], list[Panel]] = {}
        self._notes: list[Note] = []
        self._depth = 0

    @property
    def dictionary(self) -> Dictionary:
        return self.storage.dictionary

    # Trees -----------------------------------------------------------------------------------------------------------

    def run(self, node: Node) -> tuple[Value, tuple[Note, ...]]:
        """The value of a whole expression at the query's steps, and its annotations."""
        self._notes = []
        try:
            with np.errstate(all="ignore"):
                value = self.eval(node, self.query)
        except RecursionError:
            raise EvaluationError("expression is nested too deeply to be evaluated; split it") from None
        except MemoryError:
            raise EvaluationError("the query needs more memory than there is; narrow its selectors or range") from None
        notes = tuple(Note(note.warning, note.text, note.offset + node.start) for note in self._notes)
        return value, tuple(dict.fromkeys(notes))

    def eval(self, node: Node, steps: Steps) -> Value:
        """The value of `node` at `steps`; notes go to the list being filled, relative to the caller's node."""
        if isinstance(node, Paren):
            return self.child(node.expr, node, steps)
        if isinstance(node, Number):
            return np.full(steps.count, node.value)
        if isinstance(node, String):
            return node.value
        if node.fixed and steps.count > 1:
            return _spread(self.eval(node, Steps(steps.first, steps.step, 1)), steps.count)
        known = self._done.get((node.key, steps))
        if known is None:
            if isinstance(node, Binary):
                self._work_chain(node, steps)
            known = self._work(node, steps)
            self._done[node.key, steps] = known
        self._notes.extend(known[1])
        return known[0]

    def _work(self, node: Node, steps: Steps) -> tuple[Value, tuple[Note, ...]]:
        if self.limits.check is not None:
            self.limits.check()
        outer, self._notes = self._notes, []
        try:
            value = self.dispatch(self, node, steps)
            notes = tuple(self._notes)
        finally:
            self._notes = outer
        if isinstance(value, Grid):
            self.limits.allow(value.size, value.values.size)
        return value, notes

    def _work_chain(self, node: Binary, steps: Steps) -> None:
        """The inner operators of a long chain first, so that none of them recurses into the next."""
        inner = spine(node)[:-1]
        mark = len(self._notes)
        for each in inner if len(inner) > 1 else ():
            if (each.key, steps) not in self._done:
                self._done[each.key, steps] = self._work(each, steps)
        del self._notes[mark:]

    def child(self, child: Node, parent: Node, steps: Steps) -> Value:
        """The value of a part of `parent`; its notes are moved to be relative to `parent`."""
        mark = len(self._notes)
        value = self.eval(child, steps)
        self._rebase(mark, child.start - parent.start)
        return value

    def _rebase(self, mark: int, by: int) -> None:
        if by:
            self._notes[mark:] = [Note(n.warning, n.text, n.offset + by) for n in self._notes[mark:]]

    def vector(self, child: Node, parent: Node, steps: Steps) -> Grid:
        """The numbers of a part that the parser has checked to be an instant vector: native histograms left out."""
        found = self.mixed(child, parent, steps)
        return found if found.natives is None else tidy(found.numbers())

    def mixed(self, child: Node, parent: Node, steps: Steps) -> Grid:
        """As `vector`, the native histograms included: for what knows them."""
        value = self.child(child, parent, steps)
        assert isinstance(value, Grid)
        return value

    def scalar(self, child: Node, parent: Node, steps: Steps) -> Floats:
        """A part that the parser has checked to be a scalar: [T]."""
        value = self.child(child, parent, steps)
        assert isinstance(value, np.ndarray)
        return value

    def text(self, child: Node) -> str:
        """A part that the parser has checked to be a string."""
        inner = bare(child)
        assert isinstance(inner, String)
        return inner.value

    def warn(self, text: str, about: Node, node: Node) -> None:
        """A warning about `about`, a part of `node`, which is being evaluated."""
        self._note(Note(True, text, about.start - node.start))

    def inform(self, text: str, about: Node, node: Node) -> None:
        """An info about `about`, a part of `node`."""
        self._note(Note(False, text, about.start - node.start))

    def _note(self, note: Note) -> None:
        if note not in self._notes:
            self._notes.append(note)

    def beside(self, storage: Storage) -> Engine:
        """An engine for the same query over another storage, whose notes are this one's."""
        other = Engine(
            storage, self.query, self.limits, self.dispatch,
            lookback=self.lookback, subquery_step=self.subquery_step, ranged=self.ranged,
        )  # fmt: skip
        other._notes = self._notes
        return other

    # Times -----------------------------------------------------------------------------------------------------------

    def length(self, duration: Duration) -> int:
        """A duration in milliseconds."""
        span = (self.query.last - self.query.first) / 1000
        try:
            seconds = duration.seconds(self.query.step / 1000, span)
            length = round(seconds * 1000)
        except (ZeroDivisionError, OverflowError, ValueError) as error:
            raise EvaluationError(f"duration: {error}") from None
        if abs(length) > _FAR:
            raise EvaluationError("duration out of range")
        return length

    def positive(self, duration: Duration) -> int:
        """A duration in milliseconds that must be more than 0."""
        length = self.length(duration)
        if length <= 0:
            raise EvaluationError("duration must be greater than 0")
        return length

    def shifted(self, node: Selector | Subquery, steps: Steps) -> Millis:
        """[T] the instants that a selector looks from: the steps moved by `@` and `offset`."""
        offset = 0 if node.offset is None else self.length(node.offset)
        if node.at is None:
            return steps.times - offset if offset else steps.times
        if isinstance(node.at, Anchor):
            pinned = self.query.first if node.at is Anchor.START else self.query.last
        else:
            pinned = max(-2 * _FAR, min(2 * _FAR, round(node.at * 1000)))
        return np.full(steps.count, pinned - offset, np.int64)

    # Selectors -------------------------------------------------------------------------------------------------------

    def panels(self, matchers: tuple[Matcher, ...], after: int, until: int) -> list[Panel]:
        """The storage's panels, asked for once."""
        key = (matchers, after, until)
        known = self._panels.get(key)
        if known is None:
            known = self._panels[key] = [p for p in self.storage.select(matchers, after, until) if p.frame.size]
        return known

    def current(self, node: Selector, steps: Steps, *, what: Field = Field.VALUE) -> Grid:
        """The newest sample of each series within the lookback: its value, its time, or when its counter began."""
        instants = self.shifted(node, steps)
        first, last = int(instants[0]), int(instants[-1])  # The steps rise, or are all the same.
        panels = self.panels(node.matchers, first - self.lookback, last)
        grids = [newest(panel, instants, self.lookback, what) for panel in panels]
        return tidy(joined(grids)) if grids else self.nothing(steps)

    def windows(self, node: Node, parent: Node, steps: Steps) -> list[Block]:
        """The samples that a range vector selector or a subquery shows at each step."""
        inner = bare(node)
        if isinstance(inner, Subquery):
            return self._subquery(inner, parent, steps)
        assert isinstance(inner, Selector)
        assert inner.window is not None
        window = self.positive(inner.window)
        end = self.shifted(inner, steps)
        before, beyond = (self.lookback, self.lookback if inner.edges == "smoothed" else 0) if inner.edges else (0, 0)
        after = int(end.min()) - window - before
        found = self.panels(inner.matchers, after, int(end.max()) + beyond)
        return [self.block(part, end - window, end) for panel in found for part in without_stale(panel)]

    def block(self, panel: Panel, start: Millis, end: Millis) -> Block:
        """A panel under windows (start, end]."""
        low, high = rows_until(panel, start), rows_until(panel, end)
        self.limits.allow(panel.frame.size, int((high - low).max(initial=0)) * panel.frame.size)
        return Block(panel, low, high, start, end)

    def _subquery(self, node: Subquery, parent: Node, steps: Steps) -> list[Block]:
        window = self.positive(node.window)
        step = self.positive(node.step) if node.step is not None else self.subquery_step
        end = self.shifted(node, steps)
        after = int(end.min()) - window
        # Steps are multiples of the step since the epoch, the first after the start: (start, end].
        first = after // step * step + step
        count = (int(end.max()) - first) // step + 1
        if count <= 0:
            return []
        if count > self.limits.samples:
            raise EvaluationError("query processing would load too many samples into memory in query execution")
        inner = self.mixed(node.expr, parent, Steps(first, step, count))
        if not inner.size:
            return []
        return [self.block(part, end - window, end) for part in as_panels(inner, first, step)]

    def nothing(self, steps: Steps) -> Grid:
        """No series."""
        return Grid(Frame.empty(self.dictionary), np.zeros((steps.count, 0)))


def _spread(value: Value, count: int) -> Value:
    """A value that is the same at every step, at `count` steps."""
    if isinstance(value, np.ndarray):
        return np.repeat(value, count)
    if isinstance(value, Grid):
        shape = (count, value.size)
        present = None if value.present is None else np.broadcast_to(value.present, shape)
        natives = None if value.natives is None else np.broadcast_to(value.natives, shape)
        return Grid(value.frame, np.broadcast_to(value.values, shape), present, value.nameless, value.ordered, natives)
    return value
