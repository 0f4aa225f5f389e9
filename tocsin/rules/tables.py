"""The value of an expression at every step of a stride, evaluated at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from tocsin.model import Labels, Seconds
from tocsin.promql import Storage, evaluate_range
from tocsin.promql.storage import Bools, Floats

from .entangled import Placed


@dataclass(frozen=True, slots=True)
class Table:
    """The value of an expression at every step."""

    labels: list[Labels]
    values: Floats
    """[steps, series]"""
    present: Bools
    """[steps, series]"""


class Stepwise(Exception):
    """This rule has to go step by step through this stride."""


def table_of(one: Placed, ground: Storage, times: Sequence[datetime], step: Seconds, subquery_step: Seconds) -> Table:
    """The rule's expression at `times`, `step` apart. Raises Stepwise where it can't be said for all of them."""
    offset = timedelta(seconds=one.offset)
    first, last = times[0] - offset, times[-1] - offset
    try:
        matrix = evaluate_range(one.rule.plan, ground, first, last, step, subquery_step=subquery_step)
    except Exception as error:  # one step may be at fault: each is asked, and says so itself
        raise Stepwise from error
    steps, begin, pace = len(times), round(first.timestamp() * 1000), round(step * 1000)
    values = np.zeros((steps, len(matrix)))
    present = np.zeros((steps, len(matrix)), bool)
    labels = []
    for column, line in enumerate(matrix):
        rows = (line.times - begin) // pace
        values[rows, column], present[rows, column] = line.values, True
        labels.append(line.labels)
    return Table(labels, values, present)
