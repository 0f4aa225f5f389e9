"""Which parts of an expression have a result on native histograms alone.

The store holds floats. Such a part is always empty here, as it is in Prometheus over float samples, and an alert on it
would never fire: `tocsin check` refuses the rule instead.
"""

from __future__ import annotations

from typing import Final

from tocsin.promql.plan import Plan
from tocsin.promql.syntax import Aggregate, Call, Node, bare, walk

_ONLY: Final = ("histogram_avg", "histogram_count", "histogram_stddev", "histogram_stdvar", "histogram_sum")
_BUCKETS: Final = {"histogram_quantile": 1, "histogram_quantiles": 0, "histogram_fraction": 2}
"""The argument that classic histograms come as."""


def native_only(plan: Plan) -> tuple[str, ...]:
    """The calls, as they are to be told: `histogram_count()`, or `histogram_quantile() without le`."""
    found: dict[str, None] = {}
    for node in walk(plan.tree):
        if not isinstance(node, Call):
            continue
        if node.function in _ONLY:
            found[f"{node.function}()"] = None
        elif node.function in _BUCKETS and _drops_bounds(node.args[_BUCKETS[node.function]]):
            found[f"{node.function}() without le"] = None
    return tuple(found)


def _drops_bounds(buckets: Node) -> bool:
    """True when an aggregation leaves no `le`, the bound that tells one classic bucket from another."""
    inner = bare(buckets)
    return isinstance(inner, Aggregate) and inner.without == ("le" in inner.labels)
