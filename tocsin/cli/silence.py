"""`tocsin silence`: hide alerts for a while, knowing what that hides."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tocsin.cli.options import DURATION, TIME, config_option, json_option, load
from tocsin.cli.output import ago, print_json, print_table
from tocsin.cli.store import ask, by_option, now, opened, runs_async, wait_option

if TYPE_CHECKING:
    from tocsin.incidents.told import Hidden
    from tocsin.incidents.windows import Window
    from tocsin.model import Incident, Matcher, Silence

_KEPT: Final = timedelta(days=5)
"""One that has ended is listed by --all for this long."""


@click.group()
def silence() -> None:
    """Silences: add, preview, list, show, expire.

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
    from tocsin.state.preview import previewed

    wanted = _silence(matchers, lasts, starts or now(), by, why)
    async with opened(config) as state:
        click.echo((await previewed(state, wanted, now())).text())
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
    from tocsin.state.preview import previewed

    wanted = _silence(matchers, timedelta(hours=1), now(), "preview", "preview")
    async with opened(config) as state:
        found = await previewed(state, wanted, now())
    if as_json:
        names = [[alert.name for alert in alerts] for alerts in (found.now, found.past)]
        print_json({"text": found.text(), "now": names[0], "past": names[1]})
        return
    click.echo(found.text())
    for alert in found.now:
        click.echo(f"  {alert.severity} {alert.name} {alert.labels.without('alertname', 'severity')!r}")


@silence.command("list")
@click.option("--all", "every", is_flag=True, help="Also those that ended in the last 5 days.")
@json_option
@config_option
@runs_async
async def list_(every: bool, as_json: bool, config: Path) -> None:
    """Silences that hold, or will, and how many incidents each hid. By the calendar: `tocsin silence windows`."""
    at = now()
    after = at - _KEPT if every else at
    async with opened(config) as state:
        found = await state.history.silences(after)
        hid = await state.history.hidden(after)
    shown = sorted(found, key=lambda silence: (silence.ends_at, silence.id))
    if as_json:
        print_json([_document(silence, at, hid.get(silence.id, ())) for silence in shown])
        return
    rows = [
        (
            silence.id,
            ago(silence.starts_at, at) if silence.starts_at > at else "holds" if silence.ends_at > at else "ended",
            ago(silence.ends_at, at),
            str(len({entry.incident for entry in hid.get(silence.id, ())})),
            silence.created_by,
            silence.why,
            " ".join(str(matcher) for matcher in silence.matchers),
        )
        for silence in shown
    ]
    print_table(
        ("id", "begins", "ends", "hid", "by", "why", "matchers"),
        rows,
        empty="no silences; add one: tocsin silence add MATCHER… --for 2h --why TEXT",
    )


@silence.command()
@click.argument("id", metavar="ID")
@json_option
@config_option
@runs_async
async def show(id: str, as_json: bool, config: Path) -> None:
    """One silence, and what it hid from whom. That is told once, when it has ended."""
    at = now()
    async with opened(config) as state:
        found = await state.history.silence(id)
        hid = await state.history.hidden_by(id)
    if found is None:
        click.echo(f"there is no silence {id}; see: tocsin silence list --all", err=True)
        raise SystemExit(1)
    if as_json:
        hidden = [_hidden_document(*each) for each in hid]
        print_json({**_document(found, at, [entry for entry, _ in hid]), "hidden": hidden})
        return
    click.echo(f"{found.id}  {' '.join(str(matcher) for matcher in found.matchers)}")
    ends = "ended" if found.ends_at <= at else "ends"
    click.echo(f"by {found.created_by}: {found.why}; {ends} {ago(found.ends_at, at)}")
    rows = [
        (
            incident.id, incident.severity.value, incident.state.value, ago(entry.at, at), entry.notifier,
            ago(entry.told_at, at) if entry.told_at else "when it has ended",
        )
        for entry, incident in hid
    ]  # fmt: skip
    print_table(("incident", "severity", "state", "hidden", "from", "told"), rows, empty="it hid nothing")


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
    """End silences now. What they hid is told, and what of it still fires."""
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


def _hidden_document(entry: Hidden, incident: Incident) -> dict[str, object]:
    return {
        "incident": incident.id, "severity": incident.severity.value, "state": incident.state.value,
        "opened_at": incident.opened_at, "resolved_at": incident.resolved_at, "notifier": entry.notifier,
        "at": entry.at, "told_at": entry.told_at,
    }  # fmt: skip


def _document(silence: Silence, at: datetime, hid: Sequence[Hidden]) -> dict[str, object]:
    return {
        "id": silence.id, "matchers": [str(matcher) for matcher in silence.matchers], "starts_at": silence.starts_at,
        "ends_at": silence.ends_at, "created_by": silence.created_by, "why": silence.why,
        "holds": silence.starts_at <= at < silence.ends_at, "hid": len({entry.incident for entry in hid}),
        "told_at": max((entry.told_at for entry in hid if entry.told_at is not None), default=None),
    }  # fmt: skip
