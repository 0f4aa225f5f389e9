"""Which functions and aggregations there are, what they take and what they yield.

Source: prometheus/promql/parser/functions.go and the documentation's list of functions of Prometheus 3. The
experimental ones are always on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tocsin.promql.syntax import Type

_S, _V, _M, _T = Type.SCALAR, Type.VECTOR, Type.MATRIX, Type.STRING


@dataclass(frozen=True, slots=True)
class Signature:
    """The argument types; the last may be missing `optional` times, or repeat when `repeats`."""

    args: tuple[Type, ...]
    returns: Type = _V
    optional: int = 0
    repeats: bool = False


def _each(names: str, *args: Type, optional: int = 0) -> dict[str, Signature]:
    return {name: Signature(args, optional=optional) for name in names.split()}


FUNCTIONS: Final[dict[str, Signature]] = {
    **_each(
        "abs absent acos acosh asin asinh atan atanh ceil cos cosh deg exp floor histogram_avg histogram_count "
        "histogram_stddev histogram_stdvar histogram_sum ln log10 log2 rad sgn sin sinh sort sort_desc sqrt tan tanh "
        "timestamp start_timestamp",
        _V,
    ),
    **_each("day_of_month day_of_week day_of_year days_in_month hour minute month year", _V, optional=1),
    **_each(
        "absent_over_time avg_over_time changes count_over_time delta deriv first_over_time idelta increase irate "
        "last_over_time mad_over_time max_over_time min_over_time present_over_time rate resets stddev_over_time "
        "stdvar_over_time sum_over_time ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time "
        "ts_of_min_over_time",
        _M,
    ),
    "clamp": Signature((_V, _S, _S)),
    "clamp_max": Signature((_V, _S)),
    "clamp_min": Signature((_V, _S)),
    "double_exponential_smoothing": Signature((_M, _S, _S)),
    "histogram_fraction": Signature((_S, _S, _V)),
    "histogram_quantile": Signature((_S, _V)),
    "histogram_quantiles": Signature((_V, _T, _S), repeats=True),
    "info": Signature((_V, _V), optional=1),
    "label_join": Signature((_V, _T, _T, _T), optional=1, repeats=True),
    "label_replace": Signature((_V, _T, _T, _T, _T)),
    "pi": Signature((), _S),
    "predict_linear": Signature((_M, _S)),
    "quantile_over_time": Signature((_S, _M)),
    "round": Signature((_V, _S), optional=1),
    "scalar": Signature((_V,), _S),
    "sort_by_label": Signature((_V, _T), optional=1, repeats=True),
    "sort_by_label_desc": Signature((_V, _T), optional=1, repeats=True),
    "time": Signature((), _S),
    "start": Signature((), _S),
    "end": Signature((), _S),
    "step": Signature((), _S),
    "range": Signature((), _S),
    "vector": Signature((_S,)),
}

AGGREGATIONS: Final[dict[str, Type | None]] = {
    "avg": None, "count": None, "group": None, "max": None, "min": None, "stddev": None, "stdvar": None, "sum": None,
    "bottomk": _S, "topk": _S, "limitk": _S, "limit_ratio": _S, "quantile": _S, "count_values": _T,
}  # fmt: skip
"""Name to the type of its parameter."""

SMOOTHED: Final = ("delta", "increase", "rate")
ANCHORED: Final = ("changes", "delta", "increase", "rate", "resets")
"""The functions that take a range vector with extended edges."""
