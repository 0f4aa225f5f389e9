"""The few shapes of panel that Tocsin's dashboards use, on Grafana's typed builder.

A dashboard is a module in this folder with `dashboard()`. `tocsin dashboards build` writes it as JSON one folder up.
Every panel says in its description what a reader should do about it, and takes its data source from the variable
`datasource`, so that an import asks for it once. Its runbook is a link to the daemon at the variable `tocsin`.
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
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
DAEMON: Final = "http://127.0.0.1:9475"
"""Where the daemon listens unless it is told otherwise."""
NO_DATA: Final = "no data"


@dataclass(frozen=True, kw_only=True)
class Query:
    """One PromQL expression and what its lines are called."""

    expr: str
    legend: str = ""
    exemplars: bool = False
    """Dots that lead to a trace; of histograms that bear them."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What the reader picks at the top: values of `label` on `metric`."""

    label: str
    title: str
    metric: str

    def of(self, metric: str, *matchers: str) -> str:
        """The selector of `metric` where it is about what was picked."""
        return metric + "{" + ", ".join((f'{self.label}=~"${self.label}"', *matchers)) + "}"


def board(
    uid: str, title: str, about: str, rows: Iterable[tuple[str, Sequence[Any]]], *, choices: Iterable[Choice] = ()
) -> Dashboard:
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
        .link(
            dashboard.DashboardLink("Tocsin's dashboards")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["tocsin"])
            .as_dropdown(True)
            .keep_time(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for choice in choices:
        built = built.with_variable(_picked(choice))
    built = built.with_variable(dashboard.TextBoxVariable("tocsin").label("Tocsin, for runbooks").default_value(DAEMON))
    # Grafana links to a panel by its id, and the builder gives all of them 0.
    ids = itertools.count(1)
    for row_title, panels in rows:
        built = built.with_row(dashboard.Row(row_title).id(next(ids)))
        for panel in panels:
            built = built.with_panel(panel.id(next(ids)))
    return built.build()


def chart(
    title: str,
    about: str,
    *queries: Query,
    unit: str = "short",
    width: int = 12,
    limit: float | None = None,
    runbook: str = "",
) -> timeseries.Panel:
    """Lines over time; with a dashed one at `limit`, where the alert of `runbook` begins."""
    panel = (
        _headed(timeseries.Panel(), title, about, unit=unit, width=width, height=8, runbook=runbook)
        .fill_opacity(8)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )
    if limit is not None:
        panel = panel.thresholds(_limits(limit)).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        )
    return _with_targets(panel, queries, instant=False)


def figure(
    title: str,
    about: str,
    query: Query,
    *,
    unit: str = "short",
    bad_above: float | None = None,
    width: int = 4,
    nothing: str = NO_DATA,
    runbook: str = "",
) -> stat.Panel:
    """One number now; red above `bad_above`. `nothing` stands where the query finds no series: `0` only where that
    means none, as of events whose counter begins with the first. A share or a time that is not known is not 0."""
    panel = (
        _headed(stat.Panel(), title, about, unit=unit, width=width, height=4, runbook=runbook)
        .no_value(nothing)
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .thresholds(_limits(bad_above))
    )
    return _with_targets(panel, [query], instant=False)


def listing(
    title: str, about: str, query: Query, *, unit: str = "short", width: int = 12, runbook: str = ""
) -> table.Panel:
    """A table of the series that are there now."""
    panel = _headed(table.Panel(), title, about, unit=unit, width=width, height=8, runbook=runbook)
    return _with_targets(panel, [query], instant=True)


def _picked(choice: Choice) -> dashboard.QueryVariable:
    """All of them until the reader picks."""
    return (
        dashboard.QueryVariable(choice.label)
        .label(choice.title)
        .datasource(SOURCE)
        .query({"query": f"label_values({choice.metric}, {choice.label})", "refId": choice.label})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(selected=True, text="All", value="$__all"))
    )


def _headed(panel: Any, title: str, about: str, *, unit: str, width: int, height: int, runbook: str) -> Any:
    """`panel` with what every panel has; a link to the page of the alert `runbook`, where one is named."""
    panel = panel.title(title).description(about).datasource(SOURCE).unit(unit).span(width).height(height)
    if not runbook:
        return panel
    link = dashboard.DashboardLink(f"Runbook: {runbook}").type(DashboardLinkType.LINK)
    return panel.links([link.url(f"${{tocsin:raw}}/runbooks/{runbook}").target_blank(True)])


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
        if query.exemplars:
            target = target.exemplar(True)
        target = target.instant().format(PromQueryFormat.TABLE) if instant else target.range()
        panel = panel.with_target(target)
    return panel
