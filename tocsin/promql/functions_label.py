"""Functions of labels: label_replace, label_join, sorting, absent.

Source of the semantics and wording: prometheus/promql/functions.go.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

import numpy as np

from tocsin.errors import EvaluationError, PromQLError
from tocsin.model import METRIC_NAME, MatchOp
from tocsin.promql.aggregate import go_quoted
from tocsin.promql.engine import Engine, Steps
from tocsin.promql.frame import Codes, Frame
from tocsin.promql.matchers import compile_regex
from tocsin.promql.storage import Bools, any_of
from tocsin.promql.syntax import Call, Node, Selector, bare
from tocsin.promql.vector import Grid, tidy

_NO_ORDER: Final = "sort is ineffective for range queries since results are always ordered by labels"
_REFERENCE: Final = re.compile(r"\$(?:(\w+)|\{(\w+)\}|(\$))")


def replaced(engine: Engine, call: Call, steps: Steps) -> Grid:
    """label_replace(v, dst, replacement, src, regex)"""
    target, template, source, pattern = (engine.text(arg) for arg in call.args[1:])
    try:
        regex = compile_regex(pattern)
    except PromQLError as error:
        raise EvaluationError(f"invalid regular expression in label_replace(): {pattern}: {error}") from None
    _check_name(target, "destination", "label_replace()")
    grid = engine.mixed(call.args[0], call, steps)
    codes, inverse = np.unique(grid.frame.column(source), return_inverse=True)
    values = engine.dictionary.values
    new: list[int] = []
    for code in codes.tolist():
        match = regex.fullmatch(values[code])
        new.append(-1 if match is None else engine.dictionary.code(_expanded(template, match)))
    column = np.array(new, np.int32)[inverse] if len(codes) else np.zeros(0, np.int32)
    hit = column >= 0
    return _relabelled(grid, target, np.where(hit, column, grid.frame.column(target)).astype(np.int32), hit)


def _expanded(template: str, match: re.Match[str]) -> str:
    """Go's Regexp.Expand: $1, ${1}, $name; an unknown one is empty."""

    def value(reference: re.Match[str]) -> str:
        name = reference.group(1) or reference.group(2)
        if reference.group(3):
            return "$"
        try:
            return match.group(int(name) if name.isdigit() else name) or ""
        except (IndexError, KeyError):
            return ""

    return _REFERENCE.sub(value, template)


def _relabelled(grid: Grid, target: str, column: Codes, hit: Bools) -> Grid:
    nameless = grid.nameless
    if target == METRIC_NAME:
        # A name that is written on purpose is kept.
        nameless = grid.names_dropped() & ~hit
    result = replace(grid, frame=grid.frame.with_column(target, column), nameless=nameless)
    _check_distinct(result)
    return result


def _check_distinct(grid: Grid) -> None:
    if grid.frame.distinct:
        return
    _, group = np.unique(grid.frame.keys(), return_inverse=True)
    mask = grid.mask()
    for row in mask:
        present = group[row]
        if len(np.unique(present)) != len(present):
            raise EvaluationError("vector cannot contain metrics with the same labelset")


def _check_name(name: str, which: str, where: str) -> None:
    if not name or any("\ud800" <= char <= "\udfff" for char in name):
        raise EvaluationError(f"invalid {which} label name in {where}: {go_quoted(name)}")


def concatenated(engine: Engine, call: Call, steps: Steps) -> Grid:
    """label_join(v, dst, separator, src, …)"""
    target, separator, *sources = (engine.text(arg) for arg in call.args[1:])
    for source in sources:
        _check_name(source, "source", "label_join()")
    _check_name(target, "destination", "label_join()")
    grid = engine.mixed(call.args[0], call, steps)
    values = engine.dictionary.values
    columns = np.stack([grid.frame.column(source) for source in sources]) if sources else np.zeros((1, grid.size), int)
    distinct, inverse = np.unique(columns, axis=1, return_inverse=True)
    texts = [separator.join(values[code] for code in column) for column in distinct.T.tolist()]
    codes = engine.dictionary.codes(texts)[inverse.ravel()] if grid.size else np.zeros(0, np.int32)
    return _relabelled(grid, target, codes, np.ones(grid.size, bool))


def ordered(engine: Engine, call: Call, steps: Steps) -> Grid:
    """sort, sort_desc: NaN last in both. A range query has an order of its own."""
    grid = engine.vector(call.args[0], call, steps)
    if engine.ranged:
        engine.warn(_NO_ORDER, call, call)
    if steps.count > 1 or not grid.size:
        return grid
    values = grid.values[0]
    sign = 1.0 if call.function == "sort" else -1.0
    result = grid.take(np.lexsort((sign * values, np.isnan(values))))
    result.ordered = True
    return result


def ordered_by_label(engine: Engine, call: Call, steps: Steps) -> Grid:
    """sort_by_label, sort_by_label_desc: natural order, so `2` comes before `10`."""
    grid = engine.mixed(call.args[0], call, steps)
    if engine.ranged:
        engine.warn(_NO_ORDER, call, call)
    if steps.count > 1 or not grid.size:
        return grid
    names = [engine.text(arg) for arg in call.args[1:]]
    labels = grid.frame.labels()
    everything = [tuple(each.items()) for each in labels]
    order = sorted(range(grid.size), key=lambda i: ([natural(labels[i].get(n, "")) for n in names], everything[i]))
    if call.function == "sort_by_label_desc":
        order.reverse()
    result = grid.take(np.array(order, np.intp))
    result.ordered = True
    return result


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A key under which runs of digits compare as numbers. Source: facette/natsort, which Prometheus uses."""
    parts = re.findall(r"\d+|\D+", text)
    return tuple((0, int(part), part) if part.isdigit() else (1, 0, part) for part in parts)


def absent(engine: Engine, call: Call, steps: Steps) -> Grid:
    """1 at the steps where the vector is empty."""
    grid = engine.mixed(call.args[0], call, steps)
    there = any_of(grid.mask(), 1) if grid.size else np.zeros(steps.count, bool)
    return absence(engine, call.args[0], there)


def absence(engine: Engine, node: Node, there: Bools) -> Grid:
    """One series of the labels that the selector fixes, where `there` [T] is False."""
    frame = Frame.single(engine.dictionary, _fixed_labels(bare(node)))
    return tidy(Grid(frame, np.ones((len(there), 1)), ~there[:, None]))


def _fixed_labels(node: Node) -> dict[str, str]:
    if not isinstance(node, Selector):
        return {}
    labels: dict[str, str] = {}
    ambiguous: set[str] = set()
    for matcher in node.matchers:
        if matcher.name == METRIC_NAME:
            continue
        if matcher.op is MatchOp.EQUAL and matcher.name not in labels and matcher.name not in ambiguous:
            labels[matcher.name] = matcher.value
        else:
            labels.pop(matcher.name, None)
            ambiguous.add(matcher.name)
    return labels
