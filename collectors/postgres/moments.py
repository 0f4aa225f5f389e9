"""What two snapshots of a statement's moments prove about the executions between them. Pure.

pg_stat_statements keeps calls, total, mean, standard deviation and maximum since the last reset. Its maximum says
nothing once an older execution was longer. The *differences* between two snapshots do: with n executions between
them of total time T and sum of squares S = Δ(calls·(stddev² + mean²)),

    S/T ≤ longest ≤ min(T, √S, m + s·√(n-1))      where m = T/n, s² = S/n - m²

Left: S = Σ xᵢ² ≤ longest·Σ xᵢ. Right: one of them can't exceed their sum, nor the root of the sum of squares, nor
Samuelson's bound (P. A. Samuelson, "How Deviant Can You Be?", JASA 63, 1968).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tocsin.model import Seconds

_RELATIVE_ERROR: Final = 1e-12
"""Of a stored moment: doubles of 2^-53, accumulated over many executions by Welford's method in the extension."""


class Evidence(StrEnum):
    """How sure it is that an execution was longer than the threshold."""

    CERTAIN = "certain"
    POSSIBLE = "possible"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Moments:
    """A statement's figures at one time; times in seconds."""

    calls: int
    total: Seconds
    mean: Seconds
    stddev: Seconds
    """Of the population, as pg_stat_statements has it."""
    maximum: Seconds

    @property
    def squares(self) -> float:
        return self.calls * (self.stddev**2 + self.mean**2)


ZERO: Final = Moments(calls=0, total=0.0, mean=0.0, stddev=0.0, maximum=0.0)


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Between what the longest execution lies."""

    lower: Seconds
    upper: Seconds

    def evidence(self, threshold: Seconds) -> Evidence:
        """Whether some execution lasted `threshold` or longer."""
        if self.lower >= threshold:
            return Evidence.CERTAIN
        return Evidence.NONE if self.upper < threshold else Evidence.POSSIBLE


def between(before: Moments, after: Moments) -> Bounds | None:
    """The bounds of the longest execution between two snapshots; None if there was none.

    A statement that was reset or forgotten meanwhile (its figures went back) counts from zero.
    """
    if after.calls < before.calls or after.total < before.total * (1 - _RELATIVE_ERROR):
        before = ZERO
    calls = after.calls - before.calls
    if calls <= 0:
        return None
    noise = _RELATIVE_ERROR * (after.total + before.total)
    square_noise = _RELATIVE_ERROR * (after.squares + before.squares)
    total = max(after.total - before.total, 0.0)
    squares = max(after.squares - before.squares, 0.0)
    mean = total / calls
    spread = math.sqrt(max((squares + square_noise) / calls - mean**2, 0.0) + 2 * mean * noise / calls)
    upper = min(total + noise, math.sqrt(squares + square_noise), mean + noise + spread * math.sqrt(calls - 1))
    lower = max(squares - square_noise, 0.0) / (total + noise) if total > 0 else 0.0
    if calls == 1:
        lower = max(lower, total - noise)
    if after.maximum > before.maximum:  # it rose, so the longest is this very one
        lower, upper = after.maximum, max(after.maximum, lower)
    elif after.maximum == before.maximum:
        upper = min(upper, after.maximum)  # one that fell was reset (17 and later), and bounds nothing
    return Bounds(lower=min(lower, upper), upper=upper)
