"""Plans and rounds: parse once, evaluate often, share what is equal.

    plan = compile_expr('sum by (job) (rate(http_requests_total[5m])) > 10')
    round_ = Round(store, at)          # one per evaluation; rules that share parts share their work
    for labels, value in round_.evaluate(plan): …

`evaluate_range` is the same over many steps at once. Failures are errors.EvaluationError: the result is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np

from tocsin.errors import EvaluationError
from tocsin.model import NO_LABELS, Seconds
from tocsin.promql.dispatch import dispatch
from tocsin.promql.engine import LOOKBACK_MS, SUBQUERY_STEP_MS, Engine, Note, Steps
from tocsin.promql.frame import label_order
from tocsin.promql.limits import DEFAULT_LIMITS, Limits
from tocsin.promql.parse import metric_names, parse
from tocsin.promql.sets import merged
from tocsin.promql.storage import Storage
from tocsin.promql.syntax import Node, Selector, Type, selectors
from tocsin.promql.vector import Annotations, Grid, Line, Matrix, Scalar, String, Vector, tidy, unnamed

Result = Vector | Scalar | String | Matrix


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A parsed and checked expression."""

    text: str
    tree: Node = field(repr=False)
    reads: frozenset[str] | None
    """The metrics that it reads; None: it may read any."""
    selectors: tuple[Selector, ...] = field(repr=False)
    """Its selectors, left to right."""

    @property
    def type(self) -> Type:
        """What it yields."""
        return self.tree.type


def compile_expr(text: str) -> Plan:
    """Parse and check `text`. Raises PromQLError, with the offset of what is wrong."""
    tree = parse(text)
    return Plan(text=text, tree=tree, reads=metric_names(tree), selectors=selectors(tree))


class Round:
    """One instant at which expressions are evaluated. Equal sub-expressions are worked out once.

    Not for use after the storage has changed: take a new one.
    """

    def __init__(
        self,
        storage: Storage,
        at: datetime,
        *,
        limits: Limits = DEFAULT_LIMITS,
        lookback: Seconds = LOOKBACK_MS / 1000,
        subquery_step: Seconds = SUBQUERY_STEP_MS / 1000,
    ) -> None:
        self.storage = storage
        self.at = at
        self._engine = Engine(
            storage, Steps(_millis(at), 0, 1), limits, dispatch,
            lookback=round(lookback * 1000), subquery_step=round(subquery_step * 1000),
        )  # fmt: skip

    def evaluate(self, plan: Plan) -> Result:
        """The value of `plan` now. Raises EvaluationError."""
        if plan.type is Type.MATRIX:
            return self._matrix(plan)
        value, notes = self._engine.run(plan.tree)
        annotations = _annotations(plan.text, notes)
        if isinstance(value, str):
            return String(value=value, at=self.at, annotations=annotations)
        if not isinstance(value, Grid):
            return Scalar(value=float(value[0]), at=self.at, annotations=annotations)
        grid = _final(value)
        natives = None if grid.natives is None else grid.natives[0]
        return Vector(grid.frame, np.ascontiguousarray(grid.values[0]), self.at, annotations, natives)

    def _matrix(self, plan: Plan) -> Matrix:
        """A bare range selector or subquery: its samples."""
        engine = self._engine
        engine._notes = []
        lines = []
        with np.errstate(all="ignore"):
            blocks = engine.windows(plan.tree, plan.tree, engine.query)
        for block in blocks:
            low, high = block.across(block.low)[0].tolist(), block.across(block.high)[0].tolist()
            frame = unnamed(Grid(block.frame, np.zeros((1, block.frame.size)), None, block.panel.nameless))
            for column, labels in enumerate(frame.labels()):
                rows = slice(low[column], high[column])
                if rows.start < rows.stop:
                    times = block.panel.times[rows, block.panel.timeline[column]]
                    whole = block.panel.natives
                    natives = None if whole is None else whole[rows, column]
                    values = block.panel.values[rows, column]
                    lines.append(Line(labels=labels, times=times, values=values, natives=natives))
        lines.sort(key=lambda line: tuple(line.labels.items()))
        return Matrix(lines=tuple(lines), annotations=_annotations(plan.text, tuple(engine._notes)))


def evaluate_range(
    plan: Plan,
    storage: Storage,
    start: datetime,
    end: datetime,
    step: timedelta | Seconds,
    *,
    limits: Limits = DEFAULT_LIMITS,
    lookback: Seconds = LOOKBACK_MS / 1000,
    subquery_step: Seconds = SUBQUERY_STEP_MS / 1000,
) -> Matrix:
    """The value of `plan` at every step from `start` to `end`, both included. Raises EvaluationError."""
    pace = round((step.total_seconds() if isinstance(step, timedelta) else step) * 1000)
    first, last = _millis(start), _millis(end)
    if pace <= 0:
        raise EvaluationError("zero or negative query resolution step widths are not accepted. Try a positive integer")
    if last < first:
        raise EvaluationError("end timestamp must not be before start time")
    count = (last - first) // pace + 1
    if count > limits.steps:
        raise EvaluationError(
            f"exceeded maximum resolution of {limits.steps:,} points per timeseries. "
            "Try decreasing the query resolution (?step=XX)"
        )
    if plan.type not in (Type.VECTOR, Type.SCALAR):
        raise EvaluationError(
            f'invalid expression type "{plan.type.value}" for range query, must be Scalar or instant Vector'
        )
    steps = Steps(first, pace, count)
    engine = Engine(
        storage, steps, limits, dispatch,
        lookback=round(lookback * 1000), subquery_step=round(subquery_step * 1000), ranged=True,
    )  # fmt: skip
    value, notes = engine.run(plan.tree)
    annotations = _annotations(plan.text, notes)
    if isinstance(value, str):
        raise EvaluationError("a string has no range")
    times = steps.times
    if not isinstance(value, Grid):
        return Matrix(lines=(Line(labels=NO_LABELS, times=times, values=value),), annotations=annotations)
    grid = _final(value)
    return Matrix(lines=tuple(_lines(grid, steps)), annotations=annotations)


def _lines(grid: Grid, steps: Steps) -> list[Line]:
    times = steps.times
    labels = grid.frame.labels()
    columns = np.ascontiguousarray(grid.values.T)
    lines = []
    for row in label_order(grid.frame):
        natives = None if grid.natives is None else grid.natives[:, row]
        if grid.present is None:
            lines.append(Line(labels=labels[row], times=times, values=columns[row], natives=natives))
        else:
            there = grid.present[:, row]
            natives = None if natives is None else natives[there]
            lines.append(Line(labels=labels[row], times=times[there], values=columns[row][there], natives=natives))
    return lines


def _final(grid: Grid) -> Grid:
    """The grid with the names left out that are to be; two series of the same labels are an error."""
    frame = unnamed(grid)
    result = tidy(replace(grid, frame=frame, nameless=False))
    if result.frame.distinct:
        return result
    return merged(result, EvaluationError)


def _annotations(text: str, notes: tuple[Note, ...]) -> Annotations:
    """Texts as Prometheus writes them, with line and column, each once."""
    warnings: list[str] = []
    infos: list[str] = []
    for note in notes:
        line = text.count("\n", 0, note.offset) + 1
        column = note.offset - (text.rfind("\n", 0, note.offset) + 1) + 1
        kind = "warning" if note.warning else "info"
        (warnings if note.warning else infos).append(f"PromQL {kind}: {note.text} ({line}:{column})")
    return Annotations(warnings=tuple(dict.fromkeys(warnings)), infos=tuple(dict.fromkeys(infos)))


def _millis(at: datetime) -> int:
    return round(at.timestamp() * 1000)
