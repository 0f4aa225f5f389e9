"""`tocsin alerts`: what fires now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tocsin.cli.options import config_option, json_option
from tocsin.cli.output import ago, print_json, print_table
from tocsin.cli.store import now, opened, runs_async

if TYPE_CHECKING:
    from tocsin.model import Alert

_SHOWN_APART = ("alertname", "severity")


@click.command(short_help="Alerts that are pending or firing.")
@click.argument("matchers", metavar="[MATCHER]...", nargs=-1)
@click.option("--firing", is_flag=True, help="Leave out the pending ones.")
@json_option
@config_option
@runs_async
async def alerts(matchers: tuple[str, ...], firing: bool, as_json: bool, config: Path) -> None:
    """Alerts that are pending or firing, as the daemon stored them last; the worst first.

    \b
    Examples:
      tocsin alerts
      tocsin alerts severity=~"P0|P1" service=checkout --json
    """
    from tocsin.cli.silence import parsed
    from tocsin.incidents.matching import all_match
    from tocsin.model import AlertState

    wanted = parsed(matchers)
    async with opened(config) as state:
        found = (await state.load(now())).alerts
    found = tuple(
        alert for alert in found if all_match(wanted, alert.labels) and (not firing or alert.state is AlertState.FIRING)
    )
    shown = sorted(found, key=lambda alert: (alert.state.value, alert.severity.rank, alert.active_at, alert.id))
    if as_json:
        print_json([document(alert) for alert in shown])
        return
    at = now()
    rows = [
        (
            alert.severity.value,
            alert.name,
            "frozen" if alert.frozen_since else alert.state.value,
            ago(alert.active_at, at),
            f"{alert.value:g}",
            " ".join(f"{name}={value}" for name, value in alert.labels.without(*_SHOWN_APART).items()),
        )
        for alert in shown
    ]
    print_table(("sev", "alert", "state", "since", "value", "labels"), rows, empty="nothing is firing")


def document(alert: Alert) -> dict[str, object]:
    """An alert for programs."""
    return {
        "id": alert.id, "rule": alert.rule, "state": alert.state.value, "severity": alert.severity.value,
        "labels": dict(alert.labels), "annotations": dict(alert.annotations), "value": alert.value,
        "active_at": alert.active_at, "fired_at": alert.fired_at, "frozen_since": alert.frozen_since,
        "frozen_why": alert.frozen_why,
    }  # fmt: skip
