"""What overlapping windows share gives what each window gives alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.promql import Dictionary, Frame, Panel, reduce, sliding
from tocsin.promql.window import BEYOND, Block, rows_until

VALUES = st.one_of(
    st.integers(-100, 100).map(float),
    st.floats(-1e9, 1e9, allow_nan=False),
    st.sampled_from([np.nan, np.inf, -np.inf, 1e308, -1e308, 1e16]),
)


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    """A panel of a few series on one or two timelines, under windows of one length at regular steps."""
    rows, lines, size = draw(st.integers(1, 40)), draw(st.integers(1, 2)), draw(st.integers(1, 4))
    lengths = np.array([rows, *(draw(st.integers(0, rows)) for _ in range(lines - 1))])
    times = np.cumsum([[draw(st.integers(1, 30)) for _ in range(lines)] for _ in range(rows)], axis=0)
    times[np.arange(rows)[:, None] >= lengths] = BEYOND
    whole = draw(st.booleans())
    kind = st.integers(-50, 50).map(float) if whole else VALUES
    values = np.array([[draw(kind) for _ in range(size)] for _ in range(rows)])
    timeline = np.array([draw(st.integers(0, lines - 1)) for _ in range(size)])
    frame = Frame(Dictionary(), {}, size)
    panel = Panel(frame=frame, times=times, timeline=timeline, lengths=lengths, values=values, stale=False)
    window, step = draw(st.integers(1, 300)), draw(st.integers(1, 60))
    end = draw(st.integers(0, 400)) + step * np.arange(draw(st.integers(1, 20)))
    return Block(panel, rows_until(panel, end - window), rows_until(panel, end), end - window, end)


@pytest.mark.parametrize("name", ["total", "mean", "smallest", "largest"])
@settings(max_examples=150, deadline=None)
@given(block=blocks())
def test_shared_windows_equal_lone_ones(name: str, block: Block) -> None:
    """Sums, averages and extremes, whatever the values."""
    with np.errstate(all="ignore"):
        shared = {
            "total": sliding.total,
            "mean": sliding.mean,
            "smallest": lambda each: sliding.extreme(each, np.fmin),
            "largest": lambda each: sliding.extreme(each, np.fmax),
        }[name](block)
        alone = getattr(reduce, name)(block.values, block.mask, block.counts)
        # A sum of numbers near the largest one may or may not overflow on the way, depending on the order.
        tame = np.abs(np.nan_to_num(block.panel.values, posinf=0, neginf=0)).sum() < 1e300
    there = block.counts > 0
    if tame or name in ("smallest", "largest"):
        np.testing.assert_allclose(shared[there], alone[there], rtol=1e-9, atol=1e-6, equal_nan=True)
    else:
        assert shared.shape == alone.shape
