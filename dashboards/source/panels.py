"""The few shapes of panel that Tocsin's dashboards use, on Grafana's typed builder.

A dashboard is a module in this folder with `dashboard()`. `tocsin dashboards build` writes it as JSON one folder up.
Every panel says in its description what a reader should do about it, and takes its data source from the variable
`datasource`, so that an import asks for it once.
"""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")


@dataclass(frozen=True, kw_only=True)
class Query:
    """One PromQL expression and what its lines are called."""

    expr: str
    legend: str = ""


def board(uid: str, title: str, about: str, rows: Iterable[tuple[str, Sequence[Any]]]) -> Dashboard:
    """A dashboard of titled rows of panels."""
    built = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(about)
        .tags(["tocsin"])
        .timezone("browser")
        .refresh("30s")
        .time("now-6h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    # Grafana links to a panel by its id, and the builder gives all of them 0.
    ids = itertools.count(1)
    for row_title, panels in rows:
        built = built.with_row(dashboard.Row(row_title).id(next(ids)))
        for panel in panels:
            built = built.with_panel(panel.id(next(ids)))
    return built.build()


def chart(title: str, about: str, *queries: Query, unit: str = "short", width: int = 12) -> timeseries.Panel:
    """Lines over time."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(8)
        .fill_opacity(8)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )
    return _with_targets(panel, queries, instant=False)


def figure(
    title: str, about: str, query: Query, *, unit: str = "short", bad_above: float | None = None, width: int = 4
) -> stat.Panel:
    """One number now; red above `bad_above`."""
    panel = (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(4)
        .no_value("0")
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_limits(bad_above))
    )
    return _with_targets(panel, [query], instant=False)


def listing(title: str, about: str, query: Query, *, width: int = 12) -> table.Panel:
    """A table of the series that are there now."""
    panel = table.Panel().title(title).description(about).datasource(SOURCE).span(width).height(8)
    return _with_targets(panel, [query], instant=True)


def _limits(bad_above: float | None) -> dashboard.ThresholdsConfig:
    steps = [Threshold(value=None, color="green")]
    if bad_above is not None:
        # Grafana colours from the step's value on: the smallest step above the limit.
        steps.append(Threshold(value=bad_above + 1e-9, color="red"))
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _with_targets(panel: Any, queries: Sequence[Query], *, instant: bool) -> Any:
    for letter, query in zip(string.ascii_uppercase, queries, strict=False):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend or "__auto").ref_id(letter)
        target = target.datasource(SOURCE)
        target = target.instant().format(PromQueryFormat.TABLE) if instant else target.range()
        panel = panel.with_target(target)
    return panel
