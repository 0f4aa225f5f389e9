"""What `tocsin rules backtest` prints: pages and other messages side by side, what is missed, gone, new or moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from tocsin.cli.output import clock, lasts, print_json, print_table

if TYPE_CHECKING:
    from tocsin.model import Silence
    from tocsin.rules.backtest import Account, Case, Message, Span
    from tocsin.rules.comparison import Comparison, Moved
    from tocsin.series import Store

LISTED: Final = 50
"""Lines of a listing; --json has all."""
LIMITS: Final = (
    "not known of the past, and so not replayed: polls that failed, acknowledgements (escalations run their course), "
    "budgets and deliveries that failed"
)


@dataclass(frozen=True, kw_only=True)
class Past:
    """The samples, the time that is replayed, and what they lack."""

    store: Store
    span: Span
    asked: datetime
    silences: tuple[Silence, ...]
    notes: tuple[str, ...]


def whole(duration: timedelta) -> timedelta:
    return timedelta(seconds=round(duration.total_seconds()))


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _head(past: Past) -> str:
    span = past.span
    return f"{lasts(whole(span.end - span.start))}, {clock(span.start)} to {clock(span.end)}, every {span.step:g}s"


def _counts(accounts: Sequence[tuple[str, Account]]) -> None:
    """Pages by severity, and the other messages by what they do, side by side."""
    keys: dict[str, Callable[[Message], bool]] = {}
    for severity in ("P0", "P1"):
        keys[f"pages {severity}"] = lambda m, s=severity: m.pages and m.severity == s  # type: ignore[misc]
    others = sorted({m.action.value for _, account in accounts for m in account.messages if not m.pages})
    for action in others:
        keys[f"other: {action}"] = lambda m, a=action: not m.pages and m.action.value == a  # type: ignore[misc]
    rows = [
        (name, *(str(sum(fits(m) for m in account.messages)) for _, account in accounts)) for name, fits in keys.items()
    ]
    rows.append(("edits", *(str(account.edits) for _, account in accounts)))
    print_table(("messages", *(name for name, _ in accounts)), rows, empty="")


def _notes(notes: Sequence[str], accounts: Sequence[Account]) -> None:
    for account in accounts:
        for (rule, kind), (count, what) in sorted(account.problems.items()):
            click.echo(f"problem: {rule}: {kind} {_plural(count, 'time')}: {what}")
    for note in (*notes, LIMITS):
        click.echo(f"note: {note}")


def show(account: Account, past: Past, notes: Sequence[str], as_json: bool) -> None:
    if as_json:
        print_json({**_frame(past, notes), "current": _account(account)})
        return
    paged = account.paged
    click.echo(f"{_plural(len(account.pages), 'page')} about {_plural(len(paged), 'incident')} over {_head(past)}\n")
    _counts([("now", account)])
    if paged:
        click.echo()
        _list_cases(paged)
    click.echo()
    _notes(notes, [account])


def _list_cases(cases: Sequence[Case]) -> None:
    rows = [
        (clock(case.incident.opened_at), case.incident.severity.value, case.title, _lasted(case), str(len(case.pages)))
        for case in cases[:LISTED]
    ]
    print_table(("opened", "severity", "incident", "lasted", "pages"), rows, empty="")
    if len(cases) > LISTED:
        click.echo(f"… and {len(cases) - LISTED} more (--json has all)")


def _lasted(case: Case) -> str:
    ended = case.incident.resolved_at
    return "open" if ended is None else lasts(whole(ended - case.incident.opened_at))


def show_comparison(comparison: Comparison, past: Past, notes: Sequence[str], brief: timedelta, as_json: bool) -> None:
    before, after = comparison.before, comparison.after
    if as_json:
        print_json({**_frame(past, notes), "current": _account(before), "new": _account(after), **_changes(comparison)})
        return
    missed = _plural(len(comparison.missed), "incident")
    click.echo(f"{len(before.pages)} → {len(after.pages)} pages, {missed} missed, over {_head(past)}\n")
    _counts([("now", before), ("new", after)])
    titles = {
        "MISSED: paged now, not with the new rules": comparison.missed,
        f"gone, and over in less than {lasts(brief)}": comparison.noise,
        "new: paged only with the new rules": comparison.new,
    }
    for title, cases in titles.items():
        if cases:
            click.echo(f"\n{title} ({len(cases)})")
            _list_cases(cases)
    for title, moves in (
        ("earlier", comparison.earlier),
        ("later", comparison.later),
        ("folded into an incident that was paged about already", comparison.folded),
    ):
        if moves:
            click.echo(f"\n{title} ({len(moves)})")
            _list_moves(moves)
    click.echo(f"\nunchanged: {len(comparison.same)}")
    _notes(notes, [before, after])


def _list_moves(moves: Sequence[Moved]) -> None:
    rows = [
        (clock(move.before.incident.opened_at), move.before.title, _shift(move.by), move.after.title)
        for move in moves[:LISTED]
    ]
    print_table(("opened", "incident", "first page", "as"), rows, empty="")


def _shift(by: timedelta) -> str:
    return f"{lasts(abs(by))} {'earlier' if by < timedelta(0) else 'later'}" if by else "same"


# JSON ----------------------------------------------------------------------------------------------------------------


def _frame(past: Past, notes: Sequence[str]) -> dict[str, Any]:
    span = past.span
    return {
        "since": past.asked,
        "start": span.start,
        "end": span.end,
        "step_seconds": span.step,
        "gaps": [{"from": a, "to": b} for a, b in span.without],
        "notes": [*notes, LIMITS],
    }


def _account(account: Account) -> dict[str, Any]:
    return {
        "pages": len(account.pages),
        "pages_by_severity": {s: sum(m.severity == s for m in account.pages) for s in ("P0", "P1")},
        "messages_by_action": account.count(lambda message: message.action.value),
        "messages_by_notifier": account.count(lambda message: message.notifier),
        "edits": account.edits,
        "incidents": [_case(case) for case in account.cases],
        "messages": [
            {
                "at": m.at, "notifier": m.notifier, "action": m.action.value, "severity": m.severity.value,
                "incident": m.incident, "alerts": m.what, "group": m.group, "page": m.pages,
                "reason": m.reason.value, "why": m.why,
            }
            for m in account.messages
        ],
        "evaluations": account.evaluations,
        "problems": [
            {"rule": rule, "kind": kind, "times": count, "first": what}
            for (rule, kind), (count, what) in sorted(account.problems.items())
        ],
        "step_by_step": account.stepwise,
    }  # fmt: skip


def _case(case: Case) -> dict[str, Any]:
    incident = case.incident
    return {
        "id": incident.id,
        "route": incident.route,
        "title": case.title,
        "alerts": sorted(case.names),
        "group": incident.group,
        "severity": incident.severity.value,
        "opened_at": incident.opened_at,
        "resolved_at": incident.resolved_at,
        "pages": [page.at for page in case.pages],
    }


def _changes(comparison: Comparison) -> dict[str, Any]:
    def moved(moves: Sequence[Moved]) -> list[dict[str, Any]]:
        return [
            {"before": _case(m.before), "after": _case(m.after), "later_by_seconds": m.by.total_seconds()}
            for m in moves
        ]

    return {
        "missed": [_case(case) for case in comparison.missed],
        "gone_brief": [_case(case) for case in comparison.noise],
        "only_new": [_case(case) for case in comparison.new],
        "earlier": moved(comparison.earlier),
        "later": moved(comparison.later),
        "folded": moved(comparison.folded),
        "unchanged": len(comparison.same),
    }
