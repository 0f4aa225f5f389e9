"""Aggregations: sum, avg, topk, quantile, count_values and the rest, over groups of series at each step.

Groups are padded to stacks by size class (so no more than half is padding) and handed to the reducers.
Source of the semantics: prometheus/promql/engine.go, aggregation(), aggregationK().
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Final

import numpy as np

from tocsin.errors import EvaluationError
from tocsin.model import METRIC_NAME
from tocsin.promql import reduce
from tocsin.promql.engine import Engine, Steps
from tocsin.promql.frame import Frame
from tocsin.promql.native import groups as native
from tocsin.promql.native.notation import shown
from tocsin.promql.storage import Array, Bools, Floats, Rows
from tocsin.promql.syntax import Aggregate
from tocsin.promql.vector import Grid, tidy

_REDUCERS: Final[dict[str, reduce.Reducer]] = {
    "sum": reduce.total, "avg": reduce.mean, "min": reduce.smallest, "max": reduce.largest, "count": reduce.count,
    "group": reduce.one, "stddev": reduce.deviation, "stdvar": reduce.variance,
}  # fmt: skip


def aggregate(engine: Engine, node: Aggregate, steps: Steps) -> Grid:
    """The value of an aggregation."""
    if node.op in ("topk", "bottomk", "limitk", "limit_ratio"):
        return _selected(engine, node, steps)
    if node.op == "count_values":
        return _counted(engine, node, steps)
    found = engine.mixed(node.expr, node, steps)
    grid = _numbers(engine, node, found)
    q = None
    if node.op == "quantile":
        assert node.param is not None
        q = engine.scalar(node.param, node, steps)
        for value in np.unique(q[~((q >= 0) & (q <= 1))]).tolist():
            engine.warn(f"quantile value should be between 0 and 1, got {go_number(value)}", node.param, node)
    if not grid.size:
        return engine.nothing(steps)
    groups, frame = grouped(grid.frame, node)
    values = np.empty((steps.count, frame.size))
    counts = np.empty((steps.count, frame.size), np.intp)
    for chosen, members, held in layouts(grid.frame, node, groups, frame.size):
        stack = grid.values[:, members]
        mask = None if held is None else np.broadcast_to(held, stack.shape)
        if grid.present is not None:
            there = grid.present[:, members]
            mask = there if mask is None else mask & there
        number = np.full((steps.count, len(chosen)), len(members)) if mask is None else mask.sum(axis=1)
        counts[:, chosen] = number
        if q is not None:
            values[:, chosen] = reduce.quantile(stack, mask, number, q)
        else:
            values[:, chosen] = _REDUCERS[node.op](stack, mask, number)
    present = None if grid.present is None else counts > 0
    result = Grid(frame, values, present, group_nameless(grid, groups, frame.size))
    if found.natives is not None and node.op in native.SUMMED:
        return native.with_sums(engine, node, found, groups, result)
    return tidy(result)


def _numbers(engine: Engine, node: Aggregate, found: Grid) -> Grid:
    """What the reducers take: numbers, and in the place of a native histogram, where it counts, any."""
    if found.natives is None:
        return found
    if node.op in native.SUMMED:
        return found.numbers()
    if node.op in native.COUNTED:
        return replace(found, natives=None)
    return native.leave_out(engine, node, found)


def grouped(frame: Frame, node: Aggregate) -> tuple[Rows, Frame]:
    """The group of each series, and the groups' labels."""
    return frame.groups(tuple(sorted(set(node.labels))), node.without)


def group_nameless(grid: Grid, groups: Rows, size: int) -> bool | Bools:
    """A group loses its name when any of its series is to lose it."""
    if isinstance(grid.nameless, bool):
        return grid.nameless
    return np.bincount(groups, grid.nameless, size) > 0


def layouts(frame: Frame, node: Aggregate, groups: Rows, size: int) -> Iterator[tuple[Rows, Rows, Bools | None]]:
    """The groups by size class: (groups, members [width, groups], which members are real or None for all)."""
    key = ("layouts", node.labels, node.without)
    known = frame._cache.get(key)
    if known is None:
        known = frame._cache[key] = list(_layouts(groups, size))
    return iter(known)  # type: ignore[call-overload,no-any-return]


def _layouts(groups: Rows, size: int) -> Iterator[tuple[Rows, Rows, Bools | None]]:
    order = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups, minlength=size)
    starts = np.cumsum(sizes) - sizes
    classes = np.ceil(np.log2(np.maximum(sizes, 1))).astype(np.intp)
    for each in np.unique(classes).tolist():
        chosen = np.flatnonzero(classes == each)
        width = int(sizes[chosen].max())
        offsets = np.arange(width)[:, None]
        held = offsets < sizes[chosen]
        members = order[starts[chosen] + np.minimum(offsets, sizes[chosen] - 1)]
        yield chosen, members, None if held.all() else held


# Selecting some of the series ----------------------------------------------------------------------------------------


def _selected(engine: Engine, node: Aggregate, steps: Steps) -> Grid:
    assert node.param is not None
    param = engine.scalar(node.param, node, steps)
    grid = engine.mixed(node.expr, node, steps)
    if node.op in ("topk", "bottomk"):
        grid = native.leave_out(engine, node, grid)
    if node.op == "limit_ratio":
        return _ratio(engine, node, grid, param)
    if np.isnan(param).any():
        raise EvaluationError("Parameter value is NaN")
    if ((param > 9.2e18) | (param < -9.2e18)).any():
        raise EvaluationError(f"Scalar value {go_number(float(param[np.argmax(np.abs(param))]))} overflows int64")
    limit = np.trunc(param)
    if not grid.size or (limit < 1).all():
        return engine.nothing(steps)
    groups, _ = grouped(grid.frame, node)
    present = grid.mask()
    if node.op == "limitk":
        rank = _ranks(groups, [grid.frame.keys()], present)
    else:
        sign = -1.0 if node.op == "topk" else 1.0
        # NaN is the least wanted of both; ties go to the series that came first.
        worth = np.where(np.isnan(grid.values), np.inf, sign * grid.values)
        rank = _ranks(groups, [worth, np.isnan(grid.values)], present)
    chosen = present & (rank < limit[:, None])
    result = Grid(grid.frame, grid.values, chosen, grid.nameless, natives=grid.natives)
    if engine.ranged or steps.count > 1 or node.op == "limitk":
        return tidy(result)
    rows = np.flatnonzero(chosen[0])
    first = np.full(groups.max() + 1, len(groups))
    np.minimum.at(first, groups, np.arange(len(groups)))
    ordered = result.take(rows[np.lexsort((rank[0][rows], first[groups[rows]]))])
    ordered.ordered = True
    return ordered


def _ranks(groups: Rows, worth: list[Array], present: Bools) -> Rows:
    """[T, n] the place of each series in its group at each step, the best first; absent ones last."""
    shape = present.shape
    keys = [np.broadcast_to(key, shape) for key in (*worth, ~present, groups)]
    order = np.lexsort(keys, axis=-1)
    sizes = np.bincount(groups)
    starts = np.cumsum(sizes) - sizes
    ordered_groups = groups[order]
    places = np.arange(shape[1]) - starts[ordered_groups]
    ranks = np.empty(shape, np.intp)
    np.put_along_axis(ranks, order, places, axis=1)
    return ranks


def _ratio(engine: Engine, node: Aggregate, grid: Grid, ratio: Floats) -> Grid:
    """A share of the series, the same ones each time, chosen by a hash of their labels."""
    assert node.param is not None
    if np.isnan(ratio).any():
        raise EvaluationError("Ratio value is NaN")
    for bound, beyond in ((1, ratio > 1), (-1, ratio < -1)):
        for value in np.unique(ratio[beyond]).tolist():
            engine.warn(
                f"ratio value should be between -1 and 1, got {go_number(value)}, capping to {bound}",
                node.param, node,
            )  # fmt: skip
    ratio = np.clip(ratio, -1, 1)[:, None]
    place = _hash_places(grid.frame)
    chosen = np.where(ratio >= 0, place < ratio, place >= 1 + ratio) & (ratio != 0)
    return tidy(replace(grid, present=chosen & grid.mask()))


def _hash_places(frame: Frame) -> Floats:
    """[n] in [0, 1): by the labels' text, so that the same series are chosen after a restart."""
    known = frame._cache.get("places")
    if known is None:
        known = np.array([int(labels.fingerprint(), 16) / 2**64 for labels in frame.labels()])
        frame._cache["places"] = known
    return known  # type: ignore[return-value]


# count_values --------------------------------------------------------------------------------------------------------


def _counted(engine: Engine, node: Aggregate, steps: Steps) -> Grid:
    """How often each value occurs, the value being a label."""
    assert node.param is not None
    label = engine.text(node.param)
    if not label or any("\ud800" <= char <= "\udfff" for char in label):
        raise EvaluationError(f'invalid label name "{go_quoted(label)}"')
    grid = engine.mixed(node.expr, node, steps)
    if not grid.size:
        return engine.nothing(steps)
    labels = tuple(name for name in node.labels if name != label)
    base = grid.frame.without(label) if not node.without else grid.frame.without(label, METRIC_NAME)
    groups, frame = base.groups(tuple(sorted(set(labels))), node.without)
    mask = grid.mask()
    step, series = np.nonzero(mask)
    texts, which = _spelled(grid, step, series)
    pairs, place = np.unique(groups[series] * np.int64(len(texts)) + which, return_inverse=True)
    values = np.zeros((steps.count, len(pairs)))
    np.add.at(values, (step, place), 1.0)
    codes = engine.dictionary.codes(texts)
    result = frame.take(pairs // len(texts)).with_column(label, codes[pairs % len(texts)])
    nameless = group_nameless(grid, groups, frame.size)
    if not isinstance(nameless, bool):
        nameless = nameless[pairs // len(texts)]
    return tidy(Grid(result, values, values > 0, nameless))


def _spelled(grid: Grid, step: Rows, series: Rows) -> tuple[list[str], Rows]:
    """The different values as text, and for each sample which it has."""
    if grid.natives is None:
        numbers, which = np.unique(grid.values[step, series], return_inverse=True)
        return [go_number(number) for number in numbers.tolist()], which
    both = zip(grid.values[step, series].tolist(), grid.natives[step, series].tolist(), strict=True)
    places: dict[str, int] = {}
    rows = [places.setdefault(go_number(n) if h is None else shown(h), len(places)) for n, h in both]
    return list(places), np.array(rows, np.intp)


def go_number(value: float) -> str:
    """As Go's strconv.FormatFloat(value, 'f', -1, 64) writes it."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    text = format(Decimal(repr(value)), "f")
    return text.removesuffix(".0") if "." in text else text


def openmetrics_number(value: float) -> str:
    """As Prometheus writes the value of a `le` or quantile label: whole numbers with `.0`."""
    text = go_number(value)
    return text if "." in text or text[-1] in "fN" else text + ".0"


def go_quoted(text: str) -> str:
    """As Go's %q writes it, for text that may hold bytes that are no UTF-8."""
    return "".join(f"\\x{ord(char) - 0xDC00:02x}" if "\udc80" <= char <= "\udcff" else char for char in text)
