"""`tocsin incidents`: what people work on."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tocsin.cli import FINDING
from tocsin.cli.options import config_option, json_option
from tocsin.cli.output import ago, clock, lasts, print_json, print_table
from tocsin.cli.store import ask, by_option, now, opened, runs_async, wait_option

if TYPE_CHECKING:
    from tocsin.model import Incident
    from tocsin.state.history import Story


@click.group()
def incidents() -> None:
    """Incidents: list, show, ack, resolve."""


@incidents.command("list")
@click.option("--all", "every", is_flag=True, help="Also those that have ended.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
@json_option
@config_option
@runs_async
async def list_(every: bool, limit: int, as_json: bool, config: Path) -> None:
    """Open incidents, the newest first."""
    async with opened(config) as state:
        found = await state.history.incidents(open_only=not every, limit=limit)
    if as_json:
        print_json([_document(incident) for incident in found])
        return
    at = now()
    rows = [
        (
            incident.id,
            incident.severity.value,
            incident.state.value,
            ago(incident.opened_at, at),
            f"{len(incident.firing)}/{len(incident.members)}",
            incident.acked_by,
            _title(incident),
        )
        for incident in found
    ]
    empty = "no incidents yet" if every else "no open incidents (--all shows those that have ended)"
    print_table(("id", "sev", "state", "since", "firing", "acked by", "what"), rows, empty=empty)


@incidents.command()
@click.argument("id")
@json_option
@config_option
@runs_async
async def show(id: str, as_json: bool, config: Path) -> None:
    """One incident: its alerts, what was decided and why, what was said where."""
    async with opened(config) as state:
        story = await state.history.story(id)
    if story is None:
        click.echo(f"there is no incident {id}; see: tocsin incidents list --all", err=True)
        sys.exit(FINDING)
    if as_json:
        print_json(_story_document(story))
    else:
        _print_story(story)


@incidents.command()
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000), help="So many, the newest first.")
@json_option
@config_option
@runs_async
async def dead(limit: int, as_json: bool, config: Path) -> None:
    """Dead letters: messages that were given up, to whom, and why."""
    async with opened(config) as state:
        found = await state.history.dead_letters(limit)
    if as_json:
        print_json([
            {
                "id": call.id, "notifier": call.notifier, "action": call.action.value, "created_at": call.created_at,
                "attempts": call.attempts, "error": call.last_error,
            }
            for call in found
        ])  # fmt: skip
        return
    at = now()
    rows = [
        (call.id.split(":", 1)[0], call.notifier, call.action.value, ago(call.created_at, at), call.last_error)
        for call in found
    ]
    print_table(("about", "to", "what", "queued", "why it was given up"), rows, empty="nothing was given up")


@incidents.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@by_option
@wait_option
@config_option
@runs_async
async def ack(ids: tuple[str, ...], by: str, wait: timedelta, config: Path) -> None:
    """Take incidents: nobody is reminded or escalated to while you work on them.

    \b
    Example:
      tocsin incidents ack i-7k2m9qxd --by ana
    """
    from tocsin.state.inbox import Ack

    async with opened(config) as state:
        await ask(state, [Ack(incident=id, by=by) for id in ids], wait)


@incidents.command()
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--why", default="", help="What was done, for the thread.")
@by_option
@wait_option
@config_option
@runs_async
async def resolve(ids: tuple[str, ...], why: str, by: str, wait: timedelta, config: Path) -> None:
    """Close incidents, whatever their alerts do.

    \b
    Example:
      tocsin incidents resolve i-7k2m9qxd --why "rolled back to v41"
    """
    from tocsin.state.inbox import Resolve

    async with opened(config) as state:
        await ask(state, [Resolve(incident=id, by=by, why=why) for id in ids], wait)


def _title(incident: Incident) -> str:
    names = ", ".join(dict.fromkeys(alert.name for alert in incident.members))
    group = " ".join(f"{name}={value}" for name, value in incident.group.items() if name != "alertname")
    return f"{names} {group}".strip()


def _print_story(story: Story) -> None:
    incident = story.incident
    ended = incident.resolved_at or now()
    click.echo(f"{incident.id}  {incident.severity} {incident.state}  {_title(incident)}")
    click.echo(f"opened {clock(incident.opened_at)}, {lasts(ended - incident.opened_at)}, route {incident.route}")
    if incident.acked_at:
        click.echo(f"acked  {clock(incident.acked_at)} by {incident.acked_by}")
    if incident.resolved_at:
        click.echo(f"ended  {clock(incident.resolved_at)}: {incident.resolved_why or 'all of its alerts have ended'}")
    click.echo("\nalerts")
    for alert in incident.members:
        click.echo(
            f"  {alert.severity} {alert.state:<8} {alert.name} {alert.labels.without('alertname', 'severity')!r}"
        )
    click.echo("\nwhat was decided and said")
    for at, line in sorted(_events(story), key=lambda event: event[0]):
        click.echo(f"  {clock(at)}  {line}")


def _events(story: Story) -> list[tuple[datetime, str]]:
    decided = [
        (entry.at, f"{entry.notifier}: {entry.decision.action} ({entry.decision.reason}): {entry.decision.because}")
        for entry in story.decisions
    ]
    said = [
        (receipt.at, f"{receipt.notifier}: {receipt.action} delivered {receipt.permalink or receipt.ref}".rstrip())
        for receipt in story.receipts
    ]
    failed = [
        (call.created_at, f"{call.notifier}: {call.action} {call.state}: {call.last_error}")
        for call in story.calls
        if call.last_error
    ]
    hidden = [
        (entry.told_at, f"{entry.notifier}: told that silence {entry.silence} hid it")
        for entry in story.hidden
        if entry.told_at is not None
    ]
    return [*decided, *said, *failed, *hidden]


def _document(incident: Incident) -> dict[str, object]:
    from tocsin.cli.alerts import document

    return {
        "id": incident.id, "severity": incident.severity.value, "state": incident.state.value, "route": incident.route,
        "group": dict(incident.group), "opened_at": incident.opened_at, "acked_at": incident.acked_at,
        "acked_by": incident.acked_by, "resolved_at": incident.resolved_at, "resolved_why": incident.resolved_why,
        "reopened": incident.reopened, "peak": incident.peak, "alerts": [document(alert) for alert in incident.members],
    }  # fmt: skip


def _story_document(story: Story) -> dict[str, object]:
    return {
        **_document(story.incident),
        "decisions": [
            {
                "at": entry.at, "notifier": entry.notifier, "action": entry.decision.action.value,
                "reason": entry.decision.reason.value, "because": entry.decision.because,
            }
            for entry in story.decisions
        ],
        "receipts": [
            {
                "at": receipt.at, "notifier": receipt.notifier, "action": receipt.action.value, "ref": receipt.ref,
                "destination": receipt.destination, "permalink": receipt.permalink, "degraded": receipt.degraded,
            }
            for receipt in story.receipts
        ],
        "undelivered": [
            {"notifier": call.notifier, "action": call.action.value, "state": call.state, "error": call.last_error}
            for call in story.calls
            if call.state != "sent"
        ],
    }  # fmt: skip
