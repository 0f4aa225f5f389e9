"""Which code evaluates which node."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from tocsin.errors import EvaluationError
from tocsin.model import METRIC_NAME
from tocsin.promql import functions_label, functions_math, histogram, over_time, rates, reduce, sliding
from tocsin.promql.aggregate import aggregate, go_number
from tocsin.promql.edges import edged_function, edged_selector
from tocsin.promql.engine import Engine, Steps, Value
from tocsin.promql.frame import Frame, distinct
from tocsin.promql.info import info
from tocsin.promql.native import functions as native_functions
from tocsin.promql.native import windows as native_windows
from tocsin.promql.operators import binary, unary
from tocsin.promql.storage import Bools
from tocsin.promql.syntax import Aggregate, Binary, Call, Node, Selector, Unary, bare
from tocsin.promql.vector import Grid, joined, tidy
from tocsin.promql.window import Block, Field

_KERNELS: Final[dict[str, over_time.Kernel]] = {
    "rate": rates.extrapolated(counter=True, per_second=True),
    "increase": rates.extrapolated(counter=True, per_second=False),
    "delta": rates.extrapolated(counter=False, per_second=False),
    "irate": rates.instant(counter=True),
    "idelta": rates.instant(counter=False),
    "changes": rates.changes,
    "resets": rates.resets,
    "deriv": over_time.derivative,
    "count_over_time": over_time.count,
    "present_over_time": over_time.exists,
    "first_over_time": over_time.first,
    "last_over_time": over_time.last,
    "ts_of_first_over_time": over_time.first_time,
    "ts_of_last_over_time": over_time.last_time,
    "ts_of_max_over_time": over_time.extreme_time(largest=True),
    "ts_of_min_over_time": over_time.extreme_time(largest=False),
    "sum_over_time": over_time.folded(sliding.total, reduce.total),
    "avg_over_time": over_time.folded(sliding.mean, reduce.mean),
    "min_over_time": over_time.folded(lambda block: sliding.extreme(block, np.fmin), reduce.smallest),
    "max_over_time": over_time.folded(lambda block: sliding.extreme(block, np.fmax), reduce.largest),
    "stddev_over_time": over_time.reduced(reduce.deviation),
    "stdvar_over_time": over_time.reduced(reduce.variance),
    "mad_over_time": over_time.reduced(reduce.absolute_deviation),
}


def dispatch(engine: Engine, node: Node, steps: Steps) -> Value:
    """The value of `node`, whatever it is."""
    match node:
        case Selector(edges=""):
            return engine.current(node, steps)
        case Selector():
            return edged_selector(engine, node, steps)
        case Call():
            handler = _HANDLERS.get(node.function)
            if handler is None:
                raise EvaluationError(f'function "{node.function}" is not supported')
            return handler(engine, node, steps)
        case Aggregate():
            return aggregate(engine, node, steps)
        case Binary():
            return binary(engine, node, steps)
        case Unary():
            return unary(engine, node, steps)
    raise EvaluationError(f"{node.type.value} can't be evaluated here")


def ranged(engine: Engine, call: Call, range_arg: Node, kernel: over_time.Kernel, steps: Steps) -> Grid:
    """A function of a range vector, applied to its blocks."""
    keeps_name = call.function in ("last_over_time", "first_over_time")
    grids = []
    for block in engine.windows(range_arg, call, steps):
        if block.panel.natives is not None:
            names_go = block.panel.nameless if keeps_name else True
            grids.append(native_windows.ranged(engine, call, range_arg, block, kernel, names_go))
            continue
        values, present = kernel(block)
        if call.function in ("rate", "increase"):
            _doubt_counters(engine, call, range_arg, block)
        if call.function in ("rate", "increase", "irate", "resets"):
            for row in rates.overlaps(block).tolist():
                name = block.frame.value(row, METRIC_NAME)
                engine.warn(
                    f'sample has start time that overlaps with previous sample timestamp for metric "{name}"',
                    range_arg, call,
                )  # fmt: skip
        nameless: bool | Bools = block.panel.nameless if keeps_name else True
        grids.append(tidy(Grid(block.frame, values, present, nameless)))
    return joined(grids) if grids else engine.nothing(steps)


_COUNTERS: Final = ("_total", "_sum", "_count", "_bucket")


def _doubt_counters(engine: Engine, call: Call, range_arg: Node, block: Block) -> None:
    """An info for each metric that by its name is no counter."""
    names, values = block.frame.column(METRIC_NAME), engine.dictionary.values
    # Nearly always there is none: the windows, which are many, are looked at only where there is one.
    doubted = [code for code in distinct(names) if values[code] and not values[code].endswith(_COUNTERS)]
    if not doubted:
        return
    sampled = set(distinct(names[block.counts.any(axis=0)]))
    for code in doubted:
        if code in sampled:
            engine.inform(
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "
                f'"{values[code]}"', range_arg, call,
            )  # fmt: skip


def _plain_range(engine: Engine, call: Call, steps: Steps) -> Grid:
    inner = bare(call.args[0])
    if isinstance(inner, Selector) and inner.edges:
        return edged_function(engine, call, inner, steps)
    return ranged(engine, call, call.args[0], _KERNELS[call.function], steps)


def _quantile_over_time(engine: Engine, call: Call, steps: Steps) -> Grid:
    q = engine.scalar(call.args[0], call, steps)
    for value in np.unique(q[~((q >= 0) & (q <= 1))]).tolist():
        engine.warn(f"quantile value should be between 0 and 1, got {go_number(value)}", call.args[0], call)
    return ranged(engine, call, call.args[1], over_time.quantile(q), steps)


def _predict_linear(engine: Engine, call: Call, steps: Steps) -> Grid:
    ahead = engine.scalar(call.args[1], call, steps)
    return ranged(engine, call, call.args[0], over_time.predicted(ahead, steps.times.astype(np.float64)), steps)


def _double_exponential(engine: Engine, call: Call, steps: Steps) -> Grid:
    factor = engine.scalar(call.args[1], call, steps)
    trend = engine.scalar(call.args[2], call, steps)
    for name, values in (("smoothing factor", factor), ("trend factor", trend)):
        wrong = ~((values > 0) & (values < 1))
        if wrong.any():
            raise EvaluationError(
                f"invalid {name}. Expected: 0 < {name.split()[0][0]}f < 1, got: {go_number(float(values[wrong][0]))}"
            )
    return ranged(engine, call, call.args[0], over_time.smoothed(factor, trend), steps)


def _absent_over_time(engine: Engine, call: Call, steps: Steps) -> Grid:
    there = np.zeros(steps.count, bool)
    for block in engine.windows(call.args[0], call, steps):
        there |= (block.counts > 0).any(axis=1)
    return functions_label.absence(engine, call.args[0], there)


def _timestamp(engine: Engine, call: Call, steps: Steps) -> Grid:
    """When the sample was taken; of anything but a plain selector, the time of evaluation."""
    inner = bare(call.args[0])
    if isinstance(inner, Selector) and not inner.edges:
        sampled = engine.current(inner, steps, what=Field.TIME)
        return sampled.with_values(sampled.values / 1000.0)
    grid = engine.mixed(call.args[0], call, steps)
    now = np.broadcast_to((steps.times / 1000.0)[:, None], grid.values.shape)
    return grid.with_values(now)


def _start_timestamp(engine: Engine, call: Call, steps: Steps) -> Grid:
    """When the counter behind the sample began, 0 where not known; of anything but a plain selector, nothing."""
    inner = bare(call.args[0])
    if not isinstance(inner, Selector) or inner.edges:
        engine.vector(call.args[0], call, steps)
        return engine.nothing(steps)
    started = engine.current(inner, steps, what=Field.START)
    return started.with_values(started.values / 1000.0)


def _scalar(engine: Engine, call: Call, steps: Steps) -> Value:
    """The one value of a vector of one series; else NaN."""
    grid = engine.vector(call.args[0], call, steps)
    mask = grid.mask()
    single = mask.sum(axis=1) == 1
    values = np.full(steps.count, np.nan)
    if grid.size:
        values[single] = grid.values[np.arange(steps.count), mask.argmax(axis=1)][single]
    return values


def _vector(engine: Engine, call: Call, steps: Steps) -> Grid:
    values = engine.scalar(call.args[0], call, steps)
    return Grid(Frame.single(engine.dictionary), values[:, None])


def _constant(value: Callable[[Engine, Steps], float]) -> Callable[[Engine, Call, Steps], Value]:
    return lambda engine, call, steps: np.full(steps.count, value(engine, steps))


_HANDLERS: Final[dict[str, Callable[[Engine, Call, Steps], Value]]] = {
    **dict.fromkeys(_KERNELS, _plain_range),
    **dict.fromkeys(functions_math.PLAIN, functions_math.plain),
    **dict.fromkeys(functions_math.DATES, functions_math.dated),
    **dict.fromkeys(("clamp", "clamp_min", "clamp_max"), functions_math.clamped),
    **dict.fromkeys(native_functions.SIMPLE, native_functions.simple),
    **dict.fromkeys(("sort", "sort_desc"), functions_label.ordered),
    **dict.fromkeys(("sort_by_label", "sort_by_label_desc"), functions_label.ordered_by_label),
    "absent": functions_label.absent,
    "absent_over_time": _absent_over_time,
    "double_exponential_smoothing": _double_exponential,
    "end": _constant(lambda engine, steps: engine.query.last / 1000),
    "histogram_fraction": histogram.fraction,
    "histogram_quantile": histogram.quantile,
    "histogram_quantiles": histogram.quantiles,
    "info": info,
    "label_join": functions_label.concatenated,
    "label_replace": functions_label.replaced,
    "pi": _constant(lambda engine, steps: math.pi),
    "predict_linear": _predict_linear,
    "quantile_over_time": _quantile_over_time,
    "range": _constant(lambda engine, steps: (engine.query.last - engine.query.first) / 1000),
    "round": functions_math.rounded,
    "scalar": _scalar,
    "start": _constant(lambda engine, steps: engine.query.first / 1000),
    "start_timestamp": _start_timestamp,
    "step": _constant(lambda engine, steps: engine.query.step / 1000),
    "time": lambda engine, call, steps: steps.times / 1000.0,
    "timestamp": _timestamp,
    "vector": _vector,
}
