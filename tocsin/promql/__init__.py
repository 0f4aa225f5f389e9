"""PromQL: plans and evaluates Prometheus' query language over a store of float samples.

    plan = compile_expr("sum by (job) (rate(http_requests_total[5m])) > 10")   # PromQLError
    vector = Round(store, at).evaluate(plan)                                   # EvaluationError
    matrix = evaluate_range(plan, store, start, end, step)

`compile_expr` once, `Round` per instant: expressions of one round share the work of their equal parts. Everything is
vectorised over series and steps. Pure: no clock, no I/O; `Limits.check` lets the caller stop a query.
"""

from tocsin.promql.frame import Dictionary, Frame
from tocsin.promql.limits import CANCELED, DEFAULT_LIMITS, TIMED_OUT, Limits
from tocsin.promql.plan import Plan, Result, Round, compile_expr, evaluate_range
from tocsin.promql.storage import Panel, Storage
from tocsin.promql.syntax import Selector, Type
from tocsin.promql.vector import Annotations, Line, Matrix, Scalar, String, Vector

__all__ = [
    "CANCELED", "DEFAULT_LIMITS", "TIMED_OUT", "Annotations", "Dictionary", "Frame", "Limits", "Line", "Matrix",
    "Panel", "Plan", "Result", "Round", "Scalar", "Selector", "Storage", "String", "Type", "Vector", "compile_expr",
    "evaluate_range",
]  # fmt: skip
