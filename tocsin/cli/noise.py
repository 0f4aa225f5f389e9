"""`tocsin rules noise`: which rules page without need."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tocsin.cli.options import DURATION, config_option, json_option
from tocsin.cli.output import lasts, print_json, print_table
from tocsin.cli.store import now, opened, runs_async

if TYPE_CHECKING:
    from tocsin.model import Incident
    from tocsin.rules.noise import RuleNoise
    from tocsin.state import State

ALL: Final = 1_000_000


@click.command("noise", short_help="Per rule: pages, acknowledged, self-resolved, flaps.")
@config_option
@json_option
@click.option("--since", type=DURATION, default="14d", show_default=True, help="How far back.")
@runs_async
async def noise(config: Path, as_json: bool, since: timedelta) -> None:
    """The noise ledger: what each rule's pages came to, the noisiest first.

    Self-resolved incidents ended before anybody took them. Where a `for` would have spared some of them, and none that
    somebody took, it is named: try it with `tocsin rules backtest`.

    \b
    Examples:
      tocsin rules noise --since 30d
      tocsin rules noise --json
    """
    from tocsin.rules.noise import ledger

    end = now()
    begin = end - since
    async with opened(config) as state:
        incidents = [await _with_pages(state, each, begin) for each in await _incidents(state, begin)]
        silences = await state.history.silences(begin)
    lines = ledger(incidents, silences, begin, end)
    if as_json:
        print_json([_described(line) for line in lines])
        return
    rows = [
        (line.name, str(line.pages), str(line.incidents), str(line.acked), str(line.self_resolved), str(line.flaps),
         f"{line.silenced.total_seconds() / 3600:.1f}h", _remedy(line))
        for line in lines
    ]  # fmt: skip
    headings = ("rule", "pages", "incidents", "acked", "self-resolved", "flaps", "silenced", "would have spared most")
    print_table(headings, rows, empty=f"No incident in the last {lasts(since)}.")


async def _incidents(state: State, begin: datetime) -> list[Incident]:
    """Those that were open at some time since `begin`."""
    found = await state.history.incidents(limit=ALL)
    return [each for each in found if each.resolved_at is None or each.resolved_at >= begin]


async def _with_pages(state: State, incident: Incident, begin: datetime) -> tuple[Incident, int]:
    """The incident, and how many messages that ring were delivered about it."""
    from tocsin.rules.backtest import PAGES, PAGING

    receipts = await state.history.receipts(incident.id)
    rang = [receipt for receipt in receipts if receipt.action in PAGES and receipt.at >= begin]
    return incident, len(rang) if incident.severity in PAGING else 0


def _remedy(line: RuleNoise) -> str:
    return "" if line.remedy is None else f"for: {lasts(line.remedy.hold)} spares {line.remedy.spares}"


def _described(line: RuleNoise) -> dict[str, Any]:
    return {
        "rule": line.rule,
        "name": line.name,
        "pages": line.pages,
        "incidents": line.incidents,
        "acked": line.acked,
        "self_resolved": line.self_resolved,
        "flaps": line.flaps,
        "silenced_hours": line.silenced.total_seconds() / 3600,
        "remedy": None
        if line.remedy is None
        else {"for_seconds": line.remedy.hold.total_seconds(), "spares": line.remedy.spares},
    }
