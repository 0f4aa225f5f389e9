"""`tocsin doctor`: what Tocsin can and can't see, and whom it can and can't tell, with what mends each gap."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tocsin.cli import FINDING
from tocsin.cli.options import config_option, json_option, load
from tocsin.cli.output import print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tocsin.asgi.logs.cost import Cost
    from tocsin.config import Config
    from tocsin.ports import CollectorSettings, Health
    from tocsin.state import State


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing that was looked at."""

    part: str
    ok: bool
    what: str
    mend: str = ""


@click.group(invoke_without_command=True)
@config_option
@json_option
@click.pass_context
def doctor(context: click.Context, config: Path, as_json: bool) -> None:
    """What Tocsin can and can't see, and whom it can tell.

    Connects to every source and destination of the configuration once, probes endpoints as they are configured (a
    journey's steps are made, and cleaned up after), and sends no message. Each gap comes with what mends it. Exit 0
    when there is none, 1 when there is one.

    \b
    Examples:
      tocsin doctor
      tocsin doctor --json | jq '.[] | select(.ok | not)'
      tocsin doctor logs /var/log/app
      tocsin doctor dependencies requirements.lock
      tocsin doctor queries app-db
    """
    if context.invoked_subcommand is None:
        asyncio.run(_examined(config, as_json))


@doctor.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--price", type=click.FloatRange(min=0), default=0.5, show_default=True, help="Of a GB, in any currency.")
@json_option
def logs(folder: Path, price: float, as_json: bool) -> None:
    """What an application's request log costs a day, by route.

    Reads the files that tocsin.asgi wrote to FOLDER (TOCSIN_APP_LOG_FOLDER), and says what a day of them weighs before
    compression, what was left out by sampling, and what it would be without. PRICE is what your log store asks for a
    GB of lines.

    \b
    Examples:
      tocsin doctor logs /var/log/app
      tocsin doctor logs /var/log/app --price 2.5 --json
    """
    from tocsin.asgi.logs.cost import read_cost

    found = read_cost(folder)
    # A folder of a minute would make a day of any burst: say so instead of multiplying by 1440 in silence.
    days = max(found.days, 1 / 86400)
    rows: list[dict[str, Any]] = [
        {
            "route": name,
            "requests_per_day": round(route.requests / days),
            "lines_per_day": round(route.lines / days),
            "left_out_per_day": round(route.left_out / days),
            "bytes_per_day": round(route.size / days),
            "bytes_per_day_if_all": round(route.size_of_all / days),
            "cost_per_day": route.size / days / 1e9 * price,
        }
        for name, route in sorted(found.routes.items(), key=lambda item: -item[1].size)
    ]
    if as_json:
        print_json(
            {
                "days": found.days, "stored_bytes": found.stored, "unreadable_lines": found.unreadable,
                "broken_files": found.broken, "routes": rows,
            }
        )  # fmt: skip
        return
    _show_cost(found, rows, price)


def _show_cost(found: Cost, rows: Sequence[dict[str, Any]], price: float) -> None:
    print_table(
        ["route", "requests/day", "lines/day", "MB/day", "MB/day, all", "cost/day"],
        [
            [
                row["route"], f"{row['requests_per_day']:,}", f"{row['lines_per_day']:,}",
                f"{row['bytes_per_day'] / 1e6:,.2f}", f"{row['bytes_per_day_if_all'] / 1e6:,.2f}",
                f"{row['cost_per_day']:,.4f}",
            ]
            for row in rows
        ],
        empty="no lines",
    )  # fmt: skip
    total, whole = sum(row["bytes_per_day"] for row in rows), sum(row["bytes_per_day_if_all"] for row in rows)
    click.echo(
        f"{total / 1e6:,.2f} MB a day of lines, {total / 1e9 * price:,.4f} at {price:g} a GB; "
        f"without sampling {whole / 1e6:,.2f} MB; {found.stored / 1e6:,.2f} MB on disk now"
    )
    if found.unreadable:
        click.echo(f"{found.unreadable} lines are not of the request log and are not counted")
    for name, why in found.broken.items():
        click.echo(
            f"{name} can't be read to its end ({why}): counted is what came before. Is it whole, and yours to read?"
        )
    if found.days < 1 / 24:
        click.echo("the files cover less than an hour: a day may be quite different")


@doctor.command()
@click.argument("locks", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--osv-url", default="https://api.osv.dev", show_default=True, help="OSV's API, or a mirror of it.")
@click.option("--unknown-passes", is_flag=True, help="Exit 0 when the advisories can't be asked (it is still said).")
@json_option
def dependencies(locks: tuple[Path, ...], osv_url: str, unknown_passes: bool, as_json: bool) -> None:
    """Which packages of these locks have a known vulnerability.

    Exit 0 when none is rated high or critical and none is unrated, 1 when one is, or when LOCKS could not be looked up:
    unknown is not clean. A .json is a package-lock.json; all else is Python's and needs pip-audit (pip install
    'tocsin[scan]').

    \b
    Examples:
      tocsin doctor dependencies requirements.lock
      tocsin doctor dependencies requirements.lock requirements-dev.lock --json
      tocsin doctor dependencies web/package-lock.json
    """
    from tocsin.cli.audit import audited

    sys.exit(audited(locks, osv_url, unknown_passes=unknown_passes, as_json=as_json))


@doctor.command()
@click.argument("collector")
@click.option("--top", type=click.IntRange(1, 500), default=20, show_default=True, help="Statements to look at.")
@config_option
@json_option
def queries(collector: str, top: int, config: Path, as_json: bool) -> None:
    """Which of the costliest statements read whole tables, and the index that would spare it.

    COLLECTOR is the name of a postgres collector. Its statements are planned, not run, on a connection of their own
    that may not write (PostgreSQL 16 and newer, pg_stat_statements). Exit 0 when nothing is advised, 1 when something
    is.

    \b
    Examples:
      tocsin doctor queries app-db
      tocsin doctor queries app-db --top 100 --json
    """
    from tocsin.cli.queries import advised

    sys.exit(advised(load(config), collector, top, as_json=as_json))


async def _examined(config: Path, as_json: bool) -> None:
    settings = load(config)
    lines = [
        Line(part="secrets", ok=False, what=finding.what, mend=finding.mend) for finding in settings.missing_secrets
    ]
    found = await asyncio.gather(_sources(settings), _destinations(settings), _state(settings), _access(settings))
    lines += [line for part in found for line in part]
    if as_json:
        print_json([vars(line) for line in lines])
    else:
        for line in lines:
            click.echo(_shown(line))
    sys.exit(0 if all(line.ok for line in lines) else FINDING)


def _shown(line: Line) -> str:
    mark = click.style("ok ", fg="green") if line.ok else click.style("GAP", fg="red")
    mend = "".join(f"\n      {part}" for part in line.mend.splitlines())
    return f"{mark} {line.part}: {line.what}{mend}"


def _lines(part: str, health: Sequence[Health]) -> list[Line]:
    return [Line(part=part, ok=one.ok, what=one.what, mend=one.mend) for one in health]


async def _sources(config: Config) -> list[Line]:
    looks = await asyncio.gather(*(_source(config, settings) for settings in config.collectors))
    return [line for look in looks for line in look]


async def _source(config: Config, settings: CollectorSettings) -> list[Line]:
    """What the kind's own examination says; for a kind that has none, what one poll sees and does not."""
    from tocsin.runtime import plugins

    spec = plugins.collectors().find(settings.kind)
    part = f"{settings.kind} {settings.name}"
    try:
        async with asyncio.timeout(settings.time_limit + 5):
            if spec.examine is not None:
                return _lines(part, await spec.examine(settings, config.folder))
            return await _polled(part, config, settings)
    except TimeoutError:
        return [Line(part=part, ok=False, what="no answer in time", mend="is it reachable from this machine?")]
    except Exception as error:  # noqa: BLE001 (one that breaks must not hide what the others say)
        return [Line(part=part, ok=False, what=f"{type(error).__name__}: {error}")]


async def _polled(part: str, config: Config, settings: CollectorSettings) -> list[Line]:
    from tocsin.cli.store import now
    from tocsin.model import Blind, Sample
    from tocsin.ports import CollectorContext
    from tocsin.runtime import plugins

    context = CollectorContext(checkpoint=_NoMemory(), poke=lambda: None, folder=config.folder)
    collector = plugins.collectors().find(settings.kind).build(settings, context)
    try:
        items = [item async for item in collector.collect(now())]
    finally:
        await collector.close()
    blind = [item for item in items if isinstance(item, Blind)]
    down = [
        f"{item.labels.get('instance', settings.name)} is down"
        for item in items
        if isinstance(item, Sample) and item.name == "up" and item.value == 0
    ]
    gaps = [
        *(Line(part=part, ok=False, what=one.why) for one in blind),
        *(Line(part=part, ok=False, what=one) for one in down),
    ]
    return gaps or [Line(part=part, ok=True, what=f"one poll saw {len(items)} samples")]


class _NoMemory:
    """A checkpoint that is forgotten: looking must not move the daemon's place in a log."""

    async def load(self) -> bytes | None:
        """Nothing was saved."""
        return None

    async def save(self, blob: bytes) -> None:
        """And nothing will be."""


async def _destinations(config: Config) -> list[Line]:
    from tocsin.ports import NotifierContext
    from tocsin.runtime import plugins
    from tocsin.runtime.clock import SteadyClock

    lines = []
    context = NotifierContext(clock=SteadyClock(), folder=config.folder, console_url=config.external_url or "")
    for settings in config.notifiers:
        part = f"{settings.kind} {settings.name}"
        notifier = plugins.notifiers().find(settings.kind).build(settings, context)
        try:
            async with asyncio.timeout(settings.deadline):
                lines += _lines(part, [await notifier.check()])
        except Exception as error:  # noqa: BLE001 (as above)
            lines.append(Line(part=part, ok=False, what=f"{type(error).__name__}: {error}"))
        finally:
            await notifier.close()
    return lines


async def _access(config: Config) -> list[Line]:
    from tocsin.cli.doctor_access import access
    from tocsin.cli.store import now

    return _lines("access", await access(config, now()))


async def _state(config: Config) -> list[Line]:
    from tocsin.cli.store import now, opened
    from tocsin.errors import TocsinError
    from tocsin.state.account import balance

    try:
        async with opened(config.file) as state:
            wrong = await state.check()
            account = await balance(state, now())
            leader = await leader_lines(state)
    except TocsinError as error:
        return [Line(part="state", ok=False, what=str(error))]
    sound = [Line(part="state", ok=False, what=line) for line in wrong] or [Line(part="state", ok=True, what="sound")]
    lost = ", ".join(f"{incident} at {notifier}" for incident, notifier in account.lost)
    mend = "" if account.balances else f"tell them by hand: {lost}; then see the runbook TocsinUnaccounted"
    return [*sound, *leader, Line(part="account", ok=account.balances, what=account.text(), mend=mend)]


async def leader_lines(state: State) -> list[Line]:
    """Who leads of the replicas that share a Postgres; nothing on SQLite, where there is one daemon."""
    from tocsin.state.lease import read_lease

    if state.file is not None:
        return []
    async with state.reading() as connection:
        lease, replicas = await read_lease(connection)
    if lease.remaining <= 0:
        if not replicas:
            return []  # no daemon was ever started on it
        mend = "is one running that reaches Postgres? see the runbook TocsinNoLeader"
        return [Line(part="leader", ok=False, what="none: nobody decides or sends", mend=mend)]
    seen = ", ".join(f"{name} ({ago:.0f} s ago)" for name, _, ago in replicas if name != lease.holder)
    what = f"{lease.holder} at {lease.address or 'an unknown address'} since {lease.since:%Y-%m-%d %H:%M:%SZ}"
    return [
        Line(part="leader", ok=True, what=f"{what}, epoch {lease.epoch}" + (f"; also seen: {seen}" if seen else ""))
    ]
