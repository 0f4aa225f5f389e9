"""`tocsin rules backtest`: what rules would have told over the stored past, and what other rules would tell instead."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tocsin.cli import FINDING, UNUSABLE
from tocsin.cli.accounts import Past, show, show_comparison, whole
from tocsin.cli.options import DURATION, TIME, config_option, json_option, load
from tocsin.cli.output import clock, lasts

if TYPE_CHECKING:
    from tocsin.config import Config
    from tocsin.model import Silence
    from tocsin.rules import Group
    from tocsin.rules.backtest import Account, Span
    from tocsin.series import Store

MOST_WARM_UP: Final = 86_400.0
GAP: Final = timedelta(minutes=2)
"""Without any sample for longer than this, the daemon was not running."""
STEPS: Final = (5.0, 15.0)
"""The shortest and the longest step that is taken for the polls' interval."""


@click.command("backtest", short_help="Replay stored samples: what would have been sent?")
@config_option
@json_option
@click.option("--since", type=DURATION, default="1d", show_default=True, help="How far back from --until.")
@click.option("--until", type=TIME, default=None, help="The end.  [default: the newest sample]")
@click.option(
    "--rules", "changed", multiple=True, metavar="FILE…", type=click.Path(path_type=Path),
    help="The new rules, to be compared with those of the configuration.",
)  # fmt: skip
@click.option("--merge", is_flag=True, help="The new files replace the groups of the same names; the others stay.")
@click.option("--store", "folder", type=click.Path(path_type=Path), help="Another folder of samples.")
@click.option("--step", type=DURATION, default=None, help="Between evaluations.  [default: the polls' interval]")
@click.option("--ignore-under", type=DURATION, default="0s", help="Incidents that ended sooner may be missed.")
@click.argument("more", nargs=-1, type=click.Path(path_type=Path))
def backtest(
    config: Path, as_json: bool, since: timedelta, until: datetime | None, changed: tuple[Path, ...], merge: bool,
    folder: Path | None, step: timedelta | None, ignore_under: timedelta, more: tuple[Path, ...],
) -> None:  # fmt: skip
    """Replay the stored samples through rules, grouping, silences and policy, and count the messages.

    With --rules the same is done for the new rules, and the pages are compared: which are gone, new, earlier or later.
    Exits 1 when an incident that was paged before would be missed with them, 2 when something can't be used.

    It may run beside the daemon: nothing is written, neither samples nor state.

    \b
    Examples:
      tocsin rules backtest --since 14d
      tocsin rules backtest --since 14d --rules new/*.yaml
      tocsin rules backtest --since 2h --rules new/web.yaml --merge --json
    """
    from tocsin.config.plan import plan_of
    from tocsin.errors import StateError
    from tocsin.rules import load_rules

    if more and not changed:
        raise click.UsageError(f"what is {more[0]}? New rules are given with --rules FILE…")
    settings = load(config)
    before = load_rules(_files(settings))
    after = None
    if changed:
        after = load_rules((*changed, *more))
        after = _merged(before, after) if merge else after
    try:
        past = past_of(settings, folder, since, until, step, (*before, *(after or ())))
    except (StateError, OSError) as error:
        click.echo(f"tocsin: {error}", err=True)
        sys.exit(UNUSABLE)
    sets = [before] if after is None else [before, after]
    accounts = _accounts(sets, past, plan_of(settings), settings)
    notes = [*past.notes, *_lacks(past.store, sets)]
    if after is None:
        show(accounts[0], past, notes, as_json)
        return
    from tocsin.rules.comparison import compare

    if not merge:
        notes += _left_out(before, after)
    comparison = compare(accounts[0], accounts[1], brief=ignore_under)
    show_comparison(comparison, past, notes, ignore_under, as_json)
    sys.exit(FINDING if comparison.missed else 0)


# The past ------------------------------------------------------------------------------------------------------------


def _files(config: Config) -> tuple[Path, ...]:
    from tocsin.config.content import rule_files

    return rule_files(config)


def _merged(before: Sequence[Group], after: Sequence[Group]) -> tuple[Group, ...]:
    names = {group.name for group in after}
    return (*(group for group in before if group.name not in names), *after)


def past_of(
    config: Config, folder: Path | None, since: timedelta, until: datetime | None, step: timedelta | None,
    groups: Sequence[Group],
) -> Past:  # fmt: skip
    """Raises StateError and OSError where there is nothing to replay."""
    from tocsin.errors import StateError
    from tocsin.rules.backtest import Span
    from tocsin.rules.strides import warm_up
    from tocsin.series import read_store
    from tocsin.series.layered import extent, silent

    place = folder or config.series_path
    store = read_store(place)
    known = extent(store)
    if known is None:
        raise StateError(f"the series store at {place} holds no sample yet")
    oldest, newest = known
    end = min(until or newest, newest)
    asked = (until or newest) - since
    start = max(asked, oldest)
    if start > end:
        raise StateError(
            f"the samples at {place} are of {clock(oldest)} to {clock(newest)}: none lies in the time asked for"
        )
    begin = max(oldest, start - timedelta(seconds=warm_up(groups, MOST_WARM_UP)))
    pace = step.total_seconds() if step is not None else _pace(config)
    if pace <= 0:
        raise click.BadParameter("a step must be longer than nothing", param_hint="--step")
    gaps = tuple(silent(store, begin, end, max(GAP, timedelta(seconds=2 * pace))))
    span = Span(start=start, end=end, step=pace, begin=begin, without=gaps)
    silences, notes = _silences(config, begin)
    if asked < oldest - timedelta(seconds=pace):
        kept = lasts(timedelta(seconds=config.series.retention))
        notes.insert(
            0,
            f"the samples begin at {clock(oldest)}: {lasts(whole(end - start))} of the {lasts(since)} asked for "
            f"(series.retention is {kept})",
        )
    notes += _not_there(config, store, span)
    return Past(store=store, span=span, asked=asked, silences=silences, notes=tuple(notes))


def _not_there(config: Config, store: Store, span: Span) -> list[str]:
    """What of that time can't be replayed, as no sample of it lies here."""
    notes = []
    lost = sum(((b - max(a, span.start)) for a, b in span.without if b > span.start), timedelta(0))
    if lost:
        notes.append(
            f"no sample arrived for {lasts(whole(lost))} in {len(span.without)} gaps: nothing is evaluated there"
        )
    if config.series.engine is not None:
        notes.append("rules are evaluated on series.engine: what only that holds is not replayed, only what lies here")
    if store.recovery.damage:
        notes += [f"damaged: {each}" for each in store.recovery.damage if "being written" not in each]
    return notes


def _pace(config: Config) -> float:
    """Rules run as samples arrive: as often as the most frequent poll, within reason."""
    fastest = min((collector.interval for collector in config.collectors), default=STEPS[1])
    return min(max(fastest, STEPS[0]), STEPS[1])


def _silences(config: Config, after: datetime) -> tuple[tuple[Silence, ...], list[str]]:
    """The silences of that time, and what is to be said about them."""
    from tocsin.errors import ConfigError, StateError
    from tocsin.state import State

    async def read(url: str) -> tuple[Silence, ...]:
        state = await State.open(url, migrate=False)
        try:
            return await state.history.silences(after)
        finally:
            await state.close()

    try:
        url = config.state_url
        path = Path(url.partition(":///")[2]) if url.startswith("sqlite") else None
        if path is not None and not path.exists():
            return (), []
        return asyncio.run(read(url)), []
    except (StateError, ConfigError) as error:
        return (), [f"silences of that time are not applied, as the state store can't be read: {error}"]


def _lacks(store: Store, sets: Sequence[Sequence[Group]]) -> list[str]:
    """Rules that read what is not stored."""
    held = set(store.metric_names())
    notes: dict[str, None] = {}
    for groups in sets:
        made = {name for group in groups for name in group.yields}
        for group in groups:
            for rule in group.rules:
                missing = sorted((rule.plan.reads or frozenset()) - held - made)
                if missing:
                    notes[f"{rule.name} reads {', '.join(missing)}, of which no sample is stored"] = None
    return list(notes)


def _left_out(before: Sequence[Group], after: Sequence[Group]) -> list[str]:
    names = {group.name for group in after}
    left = sorted({group.name for group in before} - names)
    if not left or not names & {group.name for group in before}:
        return []
    return [f"the new rules lack the groups {', '.join(left)}; --merge keeps groups that they don't hold"]


def _accounts(sets: Sequence[Sequence[Group]], past: Past, plan: Any, config: Config) -> list[Account]:
    from tocsin.rules.backtest import backtest as replayed
    from tocsin.series import Layered

    made = {name for groups in sets for group in groups for name in group.yields}
    begin = past.span.begin or past.span.start
    steps = int((past.span.end - begin).total_seconds() / past.span.step) + 1
    hidden = not sys.stderr.isatty()
    with click.progressbar(length=steps * len(sets), label="replaying", file=sys.stderr, hidden=hidden) as bar:
        return [
            replayed(
                groups,
                Layered(past.store, made),
                plan,
                past.span,
                silences=past.silences,
                external_labels=config.external_labels,
                external_url=config.external_url or "",
                progress=bar.update,
            )
            for groups in sets
        ]
