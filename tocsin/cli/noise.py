"""`tocsin rules noise`: which rules page without need."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tocsin.cli.options import DURATION, config_option, json_option, load
from tocsin.cli.output import lasts, print_json, print_table
from tocsin.cli.store import now, opened

if TYPE_CHECKING:
    from tocsin.config import Config
    from tocsin.model import Incident
    from tocsin.rules.noise import RuleNoise
    from tocsin.state import State

ALL: Final = 1_000_000
MOST: Final = 20
"""So many rules are replayed, the noisiest."""


@click.command("noise", short_help="Per rule: pages, acknowledged, self-resolved, flaps.")
@config_option
@json_option
@click.option("--since", type=DURATION, default="14d", show_default=True, help="How far back.")
@click.option("--replay/--no-replay", default=True, help="Try values of for and keep_firing_for over the samples.")
def noise(config: Path, as_json: bool, since: timedelta, replay: bool) -> None:
    """The noise ledger: what each rule's pages came to, the noisiest first.

    Self-resolved incidents ended before anybody took them. Where a `for` or a `keep_firing_for` would have spared some
    of them, and none that somebody took, it is named: try it with `tocsin rules backtest`. It is found by replaying the
    stored samples, as far back as there are any; else it is an estimate (~) from how long incidents lasted.

    \b
    Examples:
      tocsin rules noise --since 30d
      tocsin rules noise --json
    """
    lines, note = asyncio.run(_ledger(config, since)), ""
    if replay:
        note = _tune(lines, load(config), since)
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
    if note and lines:
        click.echo(note)


async def _ledger(config: Path, since: timedelta) -> tuple[RuleNoise, ...]:
    from tocsin.rules.noise import ledger

    end = now()
    begin = end - since
    async with opened(config) as state:
        incidents = [await _with_pages(state, each, begin) for each in await _incidents(state, begin)]
        silences = await state.history.silences(begin)
    return ledger(incidents, silences, begin, end)


def _tune(lines: Iterable[RuleNoise], settings: Config, since: timedelta) -> str:
    """Give the noisiest their remedy by replay → over what it was found."""
    from tocsin.cli.backtest import past_of
    from tocsin.config.content import rule_files
    from tocsin.errors import StateError
    from tocsin.rules import AlertRule, load_rules
    from tocsin.rules.tuning import conditions, tuned
    from tocsin.series import Layered

    groups = load_rules(rule_files(settings))
    rules = {rule.id: rule for group in groups for rule in group.rules if isinstance(rule, AlertRule)}
    noisy = [line for line in lines if line.rule in rules and (line.self_resolved or line.flaps)][:MOST]
    if not noisy:
        return ""
    try:
        past = past_of(settings, None, since, None, None, groups)
    except (StateError, OSError) as error:
        return f"~ is estimated from how long incidents lasted: {error}"
    made = {name for group in groups for name in group.yields}
    held = conditions(
        {line.rule for line in noisy}, groups, Layered(past.store, made), step=past.span.step,
        start=past.span.begin or past.span.start,
        end=past.span.end, without=past.span.without, external_labels=settings.external_labels,
    )  # fmt: skip
    for line in noisy:
        # What the samples don't reach to tells nothing.
        if held[line.rule]:
            line.remedy = tuned(rules[line.rule], held[line.rule], line.taken)
    return f"replayed over {lasts(past.span.end - past.span.start)} of samples"


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
    if (remedy := line.remedy) is None:
        return ""
    key, value = ("for", remedy.hold) if remedy.hold is not None else ("keep_firing_for", remedy.keep)
    return f"{key}: {lasts(value or timedelta(0))} spares {'' if remedy.replayed else '~'}{remedy.spares}"


def _seconds(value: timedelta | None) -> float | None:
    return None if value is None else value.total_seconds()


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
        else {
            "for_seconds": _seconds(line.remedy.hold),
            "keep_firing_for_seconds": _seconds(line.remedy.keep),
            "spares": line.remedy.spares,
            "replayed": line.remedy.replayed,
        },
    }
