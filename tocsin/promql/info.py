"""info(v, {labels}): adds the labels of info metrics (`target_info`, `build_info` …) to the series of the same target.

A target is told by `job` and `instance`. Where two info series of one name describe a target, the one sampled last
counts. Source of the semantics and wording: prometheus/promql/info.go.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from tocsin.errors import EvaluationError
from tocsin.model import METRIC_NAME, Matcher, MatchOp
from tocsin.promql.engine import Engine, Steps
from tocsin.promql.matchers import matches
from tocsin.promql.matching import _pairs
from tocsin.promql.sets import merged
from tocsin.promql.storage import Bools, Millis, Rows, is_stale
from tocsin.promql.syntax import Anchor, Call, Node, Selector, Subquery, children
from tocsin.promql.vector import Grid, joined, tidy
from tocsin.promql.window import rows_until

_IDENTIFYING: Final = ("instance", "job")
_ANY_INFO: Final = Matcher(name=METRIC_NAME, op=MatchOp.REGEX, value=".+_info")
_DEFAULT: Final = Matcher(name=METRIC_NAME, op=MatchOp.EQUAL, value="target_info")


def info(engine: Engine, call: Call, steps: Steps) -> Grid:
    """The value of info()."""
    base = engine.mixed(call.args[0], call, steps)
    if not base.size:
        return base
    given: tuple[Matcher, ...] = ()
    if len(call.args) > 1:
        selector = call.args[1]
        assert isinstance(selector, Selector)
        given = selector.matchers
    naming = tuple(matcher for matcher in given if matcher.name == METRIC_NAME) or (_DEFAULT,)
    if not any(matcher.op in (MatchOp.EQUAL, MatchOp.REGEX) for matcher in naming):
        naming += (_ANY_INFO,)
    wanted = tuple(matcher for matcher in given if matcher.name != METRIC_NAME)
    is_info = _is_info(base, naming)
    plain, rest = base.take(np.flatnonzero(is_info)), base.take(np.flatnonzero(~is_info))
    if not rest.size:
        return plain
    required = any(not matches(matcher, "") for matcher in wanted)
    enriched = _enriched(engine, rest, naming + wanted, wanted, _reference(engine, call.args[0], steps), required)
    parts = [part for part in (plain, enriched) if part.size]
    return merged(joined(parts)) if parts else enriched


def _is_info(base: Grid, naming: tuple[Matcher, ...]) -> Bools:
    """Series that are themselves what would be joined are left alone."""
    codes, inverse = np.unique(base.frame.column(METRIC_NAME), return_inverse=True)
    names = [base.frame.dictionary.values[code] for code in codes.tolist()]
    verdicts = [all(matches(matcher, name) for matcher in naming) for name in names]
    return np.array(verdicts, bool)[inverse]


def _reference(engine: Engine, node: Node, steps: Steps) -> Millis:
    """[T] when the info series are looked at: as of the `@` and `offset` of the first selector and what is around."""
    times = steps.times
    while True:
        if isinstance(node, Selector | Subquery):
            if node.at is not None:
                pinned = node.at
                if isinstance(pinned, Anchor):
                    times = np.full_like(
                        times, engine.query.first if pinned is Anchor.START else engine.query.last
                    )  # fmt: skip
                else:
                    times = np.full_like(times, round(pinned * 1000))
            if node.offset is not None:
                times = times - engine.length(node.offset)
        below = children(node)
        if not below:
            return times
        node = next((each for each in below if each.type.value.endswith("vector")), below[0])


def _enriched(
    engine: Engine, base: Grid, matchers: tuple[Matcher, ...], wanted: tuple[Matcher, ...], at: Millis, required: bool
) -> Grid:
    found, sampled = _info_series(engine, matchers, at)
    result = base
    hit = np.zeros(base.values.shape, bool)
    original = np.arange(base.size)
    added: dict[str, str] = {}
    for name in np.unique(found.frame.column(METRIC_NAME)).tolist() if found.size else []:
        rows = np.flatnonzero(found.frame.column(METRIC_NAME) == name)
        series, stamps = found.take(rows), sampled[:, rows]
        result, original, joined_now = _joined(base, result, original, series, stamps, wanted, added)
        hit |= joined_now
    if required:
        present = result.mask() & hit[:, original]
        result = replace(result, present=present)
    return tidy(result)


def _info_series(engine: Engine, matchers: tuple[Matcher, ...], at: Millis) -> tuple[Grid, Millis]:
    grids, times = [], []
    for panel in engine.panels(matchers, int(at.min()) - engine.lookback, int(at.max())):
        rows = rows_until(panel, at)
        line = np.maximum(rows - 1, 0)[:, panel.timeline]
        stamps = panel.times[line, panel.timeline]
        values = panel.values[line, np.arange(panel.frame.size)]
        present = (rows[:, panel.timeline] > 0) & (stamps > (at - engine.lookback)[:, None]) & ~is_stale(values)
        grids.append(Grid(panel.frame, values, present))
        times.append(stamps)
    if not grids:
        return engine.nothing(Steps(0, 0, len(at))), np.zeros((len(at), 0), np.int64)
    return joined(grids), np.concatenate(times, axis=1)


def _joined(
    base: Grid, result: Grid, original: Rows, series: Grid, stamps: Millis, wanted: tuple[Matcher, ...],
    added: dict[str, str],
) -> tuple[Grid, Rows, Bools]:  # fmt: skip
    """`result` with the labels of one info metric; which base series each column is; where base found one."""
    own = result.frame.keys(_IDENTIFYING)
    known = np.logical_or.reduce([result.frame.column(name) > 0 for name in _IDENTIFYING])
    first, second = _pairs(own, series.frame.keys(_IDENTIFYING))
    keep = known[first]
    first, second = first[keep], second[keep]
    there = _latest(first, second, series.mask(), stamps)
    present = result.mask()[:, first] & there
    frame = result.frame.take(first)
    names = {matcher.name for matcher in wanted} or set(series.frame.names)
    name = series.frame.value(0, METRIC_NAME)
    for label in sorted(names - {METRIC_NAME, *_IDENTIFYING}):
        theirs = series.frame.column(label)[second]
        taken = base.frame.column(label)[original[first]] > 0
        mine = frame.column(label)
        clash = (mine > 0) & (theirs > 0) & ~taken & (mine != theirs) & present.any(axis=0)
        if clash.any() and added.get(label, name) != name:
            raise EvaluationError(f"conflicting label: {label} (from {added[label]} and {name})")
        if (theirs > 0).any():
            added.setdefault(label, name)
            frame = frame.with_column(label, np.where(taken | (theirs == 0), mine, theirs).astype(np.int32))
    nameless = result.nameless if isinstance(result.nameless, bool) else result.nameless[first]
    natives = None if result.natives is None else result.natives[:, first]
    with_labels = Grid(frame, result.values[:, first], present, nameless, natives=natives)
    matched = np.zeros(result.values.shape, bool)
    _or_columns(matched, first, there)
    without = replace(result, present=result.mask() & ~matched)
    hit = np.zeros(base.values.shape, bool)
    _or_columns(hit, original, matched)
    both = joined([with_labels, without])
    return both, np.concatenate((original[first], original)), hit


def _or_columns(target: Bools, columns: Rows, values: Bools) -> None:
    """target[:, columns] |= values, where a column may come more than once."""
    step, column = np.nonzero(values)
    target[step, columns[column]] = True


def _latest(first: Rows, second: Rows, present: Bools, stamps: Millis) -> Bools:
    """[T, pairs] where the info series of a pair is the one to use: there, and sampled last of its kind."""
    there = present[:, second]
    unique, counts = np.unique(first, return_counts=True)
    for series in unique[counts > 1].tolist():
        columns = np.flatnonzero(first == series)
        times = np.where(there[:, columns], stamps[:, second[columns]], -1)
        newest = times.max(axis=1, keepdims=True)
        chosen = (times == newest) & there[:, columns]
        if (chosen.sum(axis=1) > 1).any():
            raise EvaluationError("found duplicate series for info metric: two info series of one target are current")
        there[:, columns] = chosen
    return there
