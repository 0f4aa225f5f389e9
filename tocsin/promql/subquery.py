"""A grid seen as samples: what a subquery's function is given."""

from __future__ import annotations

import numpy as np

from tocsin.promql.storage import Panel
from tocsin.promql.vector import Grid, unhinted
from tocsin.promql.window import BEYOND


def as_panels(grid: Grid, first: int, step: int) -> list[Panel]:
    """A subquery's grid as samples. Gaps make timelines of their own."""
    rows = len(grid.values)
    times = first + step * np.arange(rows, dtype=np.int64)
    frame = grid.frame
    if grid.present is None:
        lengths = np.array([rows])
        line = np.zeros(grid.size, np.intp)
        panel = Panel(
            frame=frame, times=times[:, None], timeline=line, lengths=lengths, values=grid.values, stale=False,
            natives=unhinted(grid.natives),
        )  # fmt: skip
        panel.nameless = grid.nameless
        return [panel]
    absent = ~grid.present
    order = np.argsort(absent, axis=0, kind="stable")
    lengths = rows - absent.sum(axis=0)
    stamps = times[order]
    stamps[np.arange(rows)[:, None] >= lengths] = BEYOND
    values = np.take_along_axis(grid.values, order, axis=0)
    natives = unhinted(None if grid.natives is None else np.take_along_axis(grid.natives, order, axis=0))
    panel = Panel(
        frame=frame, times=stamps, timeline=np.arange(grid.size), lengths=lengths, values=values, stale=False,
        natives=natives,
    )  # fmt: skip
    panel.nameless = grid.nameless
    return [panel]
