"""Every series that anything yields, with its labels, and what an expression asks for beyond that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from tocsin.asgi import measures as application
from tocsin.model import Metric, MetricType
from tocsin.promql import Plan
from tocsin.promql.syntax import Aggregate, Binary, Call, Node, Paren, Selector, String, Subquery, Type, Unary, walk
from tocsin.rules import Group, RecordingRule
from tocsin.runtime import plugins
from tocsin.telemetry.metrics import Telemetry

ANYWHERE: Final = frozenset({"__name__", "job", "service"})
"""`job` is every collector's name; `service` is what config.yaml adds to a source, and what routes group by."""

Labels = frozenset[str] | None
"""None: not told, so that any may be there."""
_SERIES: Final = (Type.VECTOR, Type.MATRIX)
_COMPARISONS: Final = frozenset({"==", "!=", "<", ">", "<=", ">="})


@dataclass(frozen=True, kw_only=True)
class Declared:
    """The labels of each series' name."""

    labels: dict[str, Labels]

    def unknown_names(self, plan: Plan) -> set[str]:
        """Metrics that `plan` reads and nothing yields."""
        return set(plan.reads or ()) - set(self.labels)

    def unknown_labels(self, plan: Plan) -> set[str]:
        """`label of metric`, where `plan` matches or groups by a label that nothing it reads there bears."""
        found: set[str] = set()
        for node in walk(plan.tree):
            if isinstance(node, Selector):
                found |= self._missing(node, {matcher.name for matcher in node.matchers})
            elif isinstance(node, Aggregate):
                found |= self._missing(node.expr, set(node.labels))
            elif isinstance(node, Binary) and node.matching is not None:
                for side in (node.left, node.right):
                    found |= self._missing(side, set(node.matching.labels))
                found |= self._missing(node, set(node.matching.include))
        return found

    def borne(self, node: Node) -> Labels:
        """Labels that the result of `node` may bear: what a template may ask of an alert, a legend of a line."""
        match node:
            case Selector():
                return _also(self.labels.get(node.name or ""), ANYWHERE)
            case Paren() | Unary() | Subquery():
                return self.borne(node.expr)
            case Aggregate(op="topk" | "bottomk" | "limitk" | "limit_ratio"):
                return self.borne(node.expr)
            case Aggregate(without=True):
                inner = self.borne(node.expr)
                return None if inner is None else inner - set(node.labels) - {"__name__"}
            case Aggregate():
                inner = self.borne(node.expr)
                extra = {node.param.value} if isinstance(node.param, String) else set()  # count_values names its own
                return frozenset(extra | (set(node.labels) if inner is None else set(node.labels) & inner))
            case Call(function="label_replace" | "label_join", args=(inner_node, String(value=label), *_)):
                return _also(self.borne(inner_node), {label})
            case Call(function="absent" | "absent_over_time"):
                [selector] = [part for part in walk(node) if isinstance(part, Selector)]
                return frozenset(m.name for m in selector.matchers if m.op == "=") - {"__name__"}
            case Call():
                inner = next((self.borne(arg) for arg in node.args if arg.type in _SERIES), frozenset())
                return inner - {"le"} if inner is not None and node.function == "histogram_quantile" else inner
            case Binary():
                return self._of_both(node)
            case _:
                return frozenset()

    def _of_both(self, node: Binary) -> Labels:
        left, right = self.borne(node.left), self.borne(node.right)
        if node.matching is None:
            return left if node.left.type is Type.VECTOR else right
        if node.op == "or":
            return None if left is None or right is None else left | right
        if node.op in ("and", "unless"):
            return left
        if node.matching.card == "many-to-one":
            return _also(left, node.matching.include)
        if node.matching.card == "one-to-many":
            return _also(right, node.matching.include)
        if node.op in _COMPARISONS and not node.bool_:
            return frozenset(node.matching.labels) if node.matching.on else left
        if node.matching.on:
            return frozenset(node.matching.labels)
        return None if left is None else left - set(node.matching.labels)

    def _missing(self, node: Node, wanted: set[str]) -> set[str]:
        names: list[str] = []
        borne = set(ANYWHERE)
        for part in walk(node):
            if isinstance(part, Selector):
                labels = self.labels.get(part.name or "")
                if labels is None:
                    return set()
                names.append(part.name or "")
                borne |= labels
            elif isinstance(part, Call) and part.function in ("label_replace", "label_join"):
                target = part.args[1]
                borne |= {target.value} if isinstance(target, String) else set()
        return {f"{label} of {', '.join(sorted(set(names)))}" for label in wanted - borne} if names else set()


def everything_declared(groups: Iterable[Group]) -> Declared:
    """What collectors, the daemon, an application behind our layers and the recording rules of `groups` yield."""
    telemetry = Telemetry()
    own = _own_labels(telemetry)
    labels: dict[str, Labels] = {}
    for metric in telemetry.declarations():
        known: Labels = own.get(metric.name) or (frozenset(metric.labels) or None)
        # An alert's series bears the alert's labels.
        labels |= _series(metric, None if metric.name.startswith("ALERTS") else known)
    for metric in application.DECLARED:
        # Of a scraped target: what its configuration adds is there as well.
        labels |= _series(metric, frozenset(metric.labels) | {"instance"})
    for spec in plugins.collectors().load_all().values():
        for metric in spec.metrics:
            labels |= _series(metric, frozenset(metric.labels))
    for group in groups:
        labels |= {rule.name: None for rule in group.rules if isinstance(rule, RecordingRule)}
    return Declared(labels=labels)


def _series(metric: Metric, labels: Labels) -> dict[str, Labels]:
    buckets = metric.name + "_bucket" if metric.type is MetricType.HISTOGRAM else ""
    return {name: _also(labels, {"le"} if name == buckets else ()) for name in metric.series_names()}


def _also(labels: Labels, more: Iterable[str]) -> Labels:
    return None if labels is None else labels | frozenset(more)


def _own_labels(telemetry: Telemetry) -> dict[str, frozenset[str]]:
    """Label names of the daemon's own instruments: the registry's families don't tell them."""
    found: dict[str, frozenset[str]] = {}
    for instrument in vars(telemetry).values():
        names: Any = getattr(instrument, "_labelnames", None)
        for family in instrument.describe() if names is not None else ():
            found[family.name] = found[f"{family.name}_total"] = frozenset(names)
    return found
