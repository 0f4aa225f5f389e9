"""`tocsin silence`: hide alerts for a while, knowing what that hides."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tocsin.cli.options import DURATION, TIME, config_option, json_option, load
from tocsin.cli.output import ago, print_json, print_table
from tocsin.cli.store import ask, by_option, now, opened, runs_async, wait_option

if TYPE_CHECKING:
    from tocsin.incidents.silences import Preview
    from tocsin.incidents.windows import Window
    from tocsin.model import Alert, Matcher, Silence
    from tocsin.state import State

LOOKS_BACK: Final = timedelta(days=30)
_LIMIT: Final = 5_000
"""Incidents that a preview reads, at most."""


@click.group()
def silence() -> None:
    """Silences: add, preview, list, expire.

    A silence hides alerts that all of its matchers match: name=value, name!=value, name=~regex, name!~regex (anchored);
    a bare word is an alert's name. Who was told that something fires is told its end all the same.
    """


@silence.command()
@click.argument("matchers", metavar="MATCHER...", nargs=-1, required=True)
@click.option("--for", "lasts", type=DURATION, required=True, help="How long, e.g. 2h; 30 days at most.")
@click.option("--why", required=True, help="The reason, for the next on call.")
@click.option("--starts", type=TIME, help="When it begins; default: now.")
@by_option
@wait_option
@config_option
@runs_async
async def add(
    matchers: tuple[str, ...],
    lasts: timedelta,
    why: str,
    starts: datetime | None,
    by: str,
    wait: timedelta,
    config: Path,
) -> None:
    """Hide what the matchers match, and say what that is.

    \b
    Examples:
      tocsin silence add alertname=EndpointSlow service=reports --for 2h --why "nightly export, TKT-12"
      tocsin silence add 'service=~api-.*' --for 30m --why deploy
    """
    from tocsin.state.inbox import Hush

    wanted = _silence(matchers, lasts, starts or now(), by, why)
    async with opened(config) as state:
        click.echo((await _previewed(state, wanted)).text())
        await ask(state, [Hush(silence=wanted)], wait)


@silence.command()
@click.argument("matchers", metavar="MATCHER...", nargs=-1, required=True)
@json_option
@config_option
@runs_async
async def preview(matchers: tuple[str, ...], as_json: bool, config: Path) -> None:
    """What a silence would hide now, and would have hidden in the last 30 days. Changes nothing.

    \b
    Example:
      tocsin silence preview severity=P2 service=reports
    """
    wanted = _silence(matchers, timedelta(hours=1), now(), "preview", "preview")
    async with opened(config) as state:
        found = await _previewed(state, wanted)
    if as_json:
        names = [[alert.name for alert in alerts] for alerts in (found.now, found.past)]
        print_json({"text": found.text(), "now": names[0], "past": names[1]})
        return
    click.echo(found.text())
    for alert in found.now:
        click.echo(f"  {alert.severity} {alert.name} {alert.labels.without('alertname', 'severity')!r}")


@silence.command("list")
@json_option
@config_option
@runs_async
async def list_(as_json: bool, config: Path) -> None:
    """Silences that hold, or will. What hides alerts by the calendar: `tocsin silence windows`."""
    at = now()
    async with opened(config) as state:
        found = await state.history.silences(at)
    shown = sorted(found, key=lambda silence: (silence.ends_at, silence.id))
    if as_json:
        print_json([_document(silence, at) for silence in shown])
        return
    rows = [
        (
            silence.id,
            ago(silence.starts_at, at) if silence.starts_at > at else "holds",
            ago(silence.ends_at, at),
            silence.created_by,
            silence.why,
            " ".join(str(matcher) for matcher in silence.matchers),
        )
        for silence in shown
    ]
    print_table(
        ("id", "begins", "ends", "by", "why", "matchers"),
        rows,
        empty="no silences; add one: tocsin silence add MATCHER… --for 2h --why TEXT",
    )


@silence.command()
@json_option
@config_option
def windows(as_json: bool, config: Path) -> None:
    """The maintenance windows of the configuration: which hold now, and when each comes next."""
    at, read = now(), load(config)
    found = [settings.window(read.timezone) for settings in read.windows]
    if as_json:
        print_json([_window_document(window, at) for window in found])
        return
    print_table(
        ("window", "begins", "lasts", "cron", "why", "match"),
        [_window_row(window, at) for window in found],
        empty="no windows; add one to `windows` in the configuration: see `tocsin check --example`",
    )


@silence.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@wait_option
@config_option
@runs_async
async def expire(ids: tuple[str, ...], wait: timedelta, config: Path) -> None:
    """End silences now. What they hid and still fires is told."""
    from tocsin.state.inbox import Expire

    async with opened(config) as state:
        await ask(state, [Expire(id=id) for id in ids], wait)


def parsed(matchers: Iterable[str]) -> tuple[Matcher, ...]:
    """The matchers. Raises BadParameter that shows the form."""
    from tocsin.incidents.matching import parse_matcher

    try:
        return tuple(parse_matcher(text) for text in matchers)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="MATCHER") from None


def _silence(matchers: Iterable[str], lasts: timedelta, starts_at: datetime, by: str, why: str) -> Silence:
    from tocsin.incidents.silences import check
    from tocsin.model import Silence

    wanted = Silence(
        id=f"s-{secrets.token_hex(4)}",
        matchers=parsed(matchers),
        starts_at=starts_at,
        ends_at=starts_at + lasts,
        created_by=by,
        why=why,
    )
    try:
        check(wanted)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return wanted


async def _previewed(state: State, wanted: Silence) -> Preview:
    from tocsin.incidents.silences import preview as hides
    from tocsin.model import AlertState

    at = now()
    firing = [alert for alert in (await state.load(at)).alerts if alert.state is AlertState.FIRING]
    past: dict[tuple[str, datetime], Alert] = {}
    for incident in await state.history.incidents(limit=_LIMIT):
        for alert in incident.members:
            if at - alert.active_at <= LOOKS_BACK and alert.state is AlertState.RESOLVED:
                past[alert.id, alert.active_at] = alert
    return hides(wanted, firing, past.values())


def _window_row(window: Window, at: datetime) -> tuple[str, ...]:
    from tocsin.durations import format_duration

    ends, begins = window.ends(at), window.next(at)
    when = f"holds, ends {ago(ends, at)}" if ends else "never" if begins is None else ago(begins, at)
    match = " ".join(f"{label}=~{expression}" for label, expression in window.match.items())
    cron = f"{window.cron.text} {window.zone}"
    return window.name, when, format_duration(window.lasts), cron, window.why, match


def _window_document(window: Window, at: datetime) -> dict[str, object]:
    return {
        "window": window.name, "match": dict(window.match), "cron": window.cron.text, "timezone": window.zone,
        "lasts": window.lasts, "why": window.why, "holds": window.ends(at) is not None, "ends_at": window.ends(at),
        "next_at": window.next(at),
    }  # fmt: skip


def _document(silence: Silence, at: datetime) -> dict[str, object]:
    return {
        "id": silence.id, "matchers": [str(matcher) for matcher in silence.matchers], "starts_at": silence.starts_at,
        "ends_at": silence.ends_at, "created_by": silence.created_by, "why": silence.why,
        "holds": silence.starts_at <= at,
    }  # fmt: skip
