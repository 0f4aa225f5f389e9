"""What one query may cost, and how it is stopped.

The engine knows no clock: whoever runs it passes `check`, called between the parts of a query, which may raise
`EvaluationError(TIMED_OUT)` or `EvaluationError(CANCELED)`. Wording as in Prometheus (promql/engine.go).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tocsin.errors import EvaluationError

TIMED_OUT = "query timed out in expression evaluation"
CANCELED = "query was canceled in expression evaluation"
TOO_MANY_SAMPLES = "query processing would load too many samples into memory in query execution"


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Ceilings of one query."""

    samples: int = 50_000_000
    """Values held at once by one part of a query."""
    series: int = 1_000_000
    """Series in one part of a query."""
    steps: int = 11_000
    """Points per series of a range query."""
    check: Callable[[], None] | None = None
    """Called before each part; raises to stop."""

    def allow(self, series: int, samples: int) -> None:
        """Raises EvaluationError where a ceiling is passed."""
        if samples > self.samples:
            raise EvaluationError(TOO_MANY_SAMPLES)
        if series > self.series:
            raise EvaluationError(f"the query would return too many series: {series}, limit: {self.series}")


DEFAULT_LIMITS = Limits()
