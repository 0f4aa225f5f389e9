"""Backtests: the messages that rules would have sent, and two sets of rules compared by their pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

import pytest

from tocsin.incidents import Destination, Plan
from tocsin.incidents.routes import Escalation, Route, Router
from tocsin.model import Labels, Matcher, MatchOp, Sample, Silence, utc
from tocsin.rules import load_text
from tocsin.rules.backtest import Account, Span, backtest
from tocsin.rules.comparison import Comparison, compare
from tocsin.series import Layered, Store

START = utc(1_700_000_000)
STEP = 15
HOUR = 3600
PLAN = Plan(
    router=Router(
        [
            Route(match={"severity": "P0|P1"}, notify=("page",), group_by=("service",)),
            Route(match={"severity": ".*"}, notify=("quiet",)),
        ]
    ),
    destinations={"page": Destination(name="page", edits=True), "quiet": Destination(name="quiet", edits=True)},
)
DOWN = "alert: Down, expr: 'm > 5', labels: {severity: P0, service: '{{ $labels.service }}'}"


def store_of(bad: Sequence[tuple[str, int, int]], seconds: int = 2 * HOUR) -> Store:
    """`m{service}` for two services: 9 in the spans given as (service, from, until), else 1."""
    store = Store(retention=1e9)
    for second in range(0, seconds + 1, STEP):
        store.append(
            Sample(
                name="m",
                labels=Labels(service=service),
                value=9.0 if any(s == service and a <= second < b for s, a, b in bad) else 1.0,
                at=START + timedelta(seconds=second),
            )
            for service in ("api", "db")
        )
    return store


def told(
    store: Store, *rules: str, plan: Plan = PLAN, start: int = 0, silences: Iterable[Silence] = (),
    seconds: int = 2 * HOUR,
) -> Account:  # fmt: skip
    groups = load_text("groups:\n  - name: g\n    rules: [" + ", ".join(f"{{{rule}}}" for rule in rules) + "]\n")
    span = Span(start=START + timedelta(seconds=start), end=START + timedelta(seconds=seconds), step=STEP, begin=START)
    hidden = {name for group in groups for name in group.yields}
    return backtest(groups, Layered(store, hidden), plan, span, silences=silences)


def said(account: Account) -> list[tuple[float, str, str, str]]:
    """(seconds, notifier, action, service)"""
    return [
        ((m.at - START).total_seconds(), m.notifier, m.action.value, m.group.get("service", ""))
        for m in account.messages
    ]


# Messages ------------------------------------------------------------------------------------------------------------


def test_what_began_and_ended_is_told_when_it_did() -> None:
    """A page and its end, to whom the routes say."""
    account = told(store_of([("api", 600, 900)]), DOWN)
    assert said(account) == [(600, "page", "post", "api"), (900, "page", "resolve", "api")]
    assert (len(account.pages), account.evaluations) == (1, 481)


def test_alerts_of_one_group_are_one_page() -> None:
    """Grouping is replayed too: messages are counted, not alerts."""
    account = told(store_of([("api", 600, 900)]), DOWN, DOWN.replace("Down", "Slow"))
    assert (len(account.pages), account.pages[0].what) == (1, "Down, Slow")


def test_what_lasted_since_before_the_start_is_not_told_again() -> None:
    """The rules run up to it, so that it is known; its end is told."""
    account = told(store_of([("api", 600, 2400)]), DOWN, start=1200)
    assert said(account) == [(2400, "page", "resolve", "api")]
    assert account.paged == ()


def test_a_silence_of_that_time_holds_again() -> None:
    """It swallows the page that it swallowed then, and not the one after it."""
    silence = Silence(
        id="s", matchers=(Matcher(name="service", op=MatchOp.EQUAL, value="api"),),
        starts_at=START, ends_at=START + timedelta(seconds=1800), created_by="ana", why="deploy",
    )  # fmt: skip
    account = told(store_of([("api", 600, 900), ("api", 3600, 3900)]), DOWN, silences=[silence])
    assert [entry for entry in said(account) if entry[2] == "post"] == [(3600, "page", "post", "api")]


def test_escalations_run_their_course_and_are_no_pages() -> None:
    """Nobody can have acknowledged; the second step comes between two evaluations, as time alone brings it."""
    route = Route(notify=("page",), group_by=("service",), escalate=(Escalation(after=307, to=("quiet",)),))
    plan = Plan(router=Router([route]), destinations=PLAN.destinations)
    account = told(store_of([("api", 600, 1800)]), DOWN, plan=plan)
    assert [entry for entry in said(account) if entry[0] == 907] == [
        (907, "page", "escalate", "api"),
        (907, "quiet", "post", "api"),
    ]
    assert len(account.pages) == 1


def test_a_rule_that_fails_is_named() -> None:
    """With the number of times and the first reason."""
    account = told(store_of([]), "alert: Broken, expr: 'm + on() m', labels: {severity: P0}", seconds=150)
    ((key, (count, what)),) = account.problems.items()
    assert (key[1], count, "many-to-many" in what or "duplicate" in what) == ("failed", 11, True)


# Comparisons ---------------------------------------------------------------------------------------------------------


def compared(bad: Sequence[tuple[str, int, int]], old: Sequence[str], new: Sequence[str], brief: int = 0) -> Comparison:
    store = store_of(bad)
    return compare(told(store, *old), told(store, *new), brief=timedelta(seconds=brief))


def test_the_same_rules_change_nothing() -> None:
    """No page is gone, new or moved."""
    found = compared([("api", 600, 900), ("db", 4000, 5000)], [DOWN], [DOWN])
    assert (len(found.same), found.gone, found.new, found.later, found.earlier) == (2, (), (), (), ())


def test_a_threshold_that_is_never_reached_misses_the_incident() -> None:
    """What was paged before and is not found again by any page."""
    found = compared([("api", 600, 900)], [DOWN], [DOWN.replace("> 5", "> 50")])
    assert [case.title for case in found.missed] == ['Down {service="api"}']


def test_a_page_about_something_else_does_not_find_it_again() -> None:
    """At the same time, of another service."""
    found = compared(
        [("api", 600, 900), ("db", 600, 900)],
        [DOWN.replace("m >", 'm{service="api"} >')],
        [DOWN.replace("m >", 'm{service="db"} >')],
    )
    assert ([c.title for c in found.missed], [c.title for c in found.new]) == (
        ['Down {service="api"}'],
        ['Down {service="db"}'],
    )


def test_another_name_for_the_same_thing_finds_it_again() -> None:
    """By the labels that say what it is about."""
    found = compared([("api", 600, 900)], [DOWN], [DOWN.replace("Down", "ApiDown")])
    assert (len(found.same), found.missed, found.new) == (1, (), ())


@pytest.mark.parametrize(("old", "new", "shift"), [("", ", for: 2m", 120), (", for: 2m", "", -120)])
def test_a_page_that_comes_at_another_time_is_told_with_the_difference(old: str, new: str, shift: int) -> None:
    """Later with a longer `for`, earlier with a shorter one."""
    found = compared([("api", 600, 1200)], [DOWN + old], [DOWN + new])
    assert [move.by.total_seconds() for move in (*found.earlier, *found.later)] == [shift]
    assert bool(found.later) == (shift > 0)


def test_pages_that_become_one_are_folded_and_not_missed() -> None:
    """Two outages a quarter of an hour apart, which `keep_firing_for` joins."""
    found = compared([("api", 600, 900), ("api", 1800, 2100)], [DOWN], [DOWN + ", keep_firing_for: 20m"])
    assert (len(found.before.pages), len(found.after.pages)) == (2, 1)
    assert (len(found.same), len(found.folded), found.missed) == (1, 1, ())


def test_what_was_over_soon_may_go_when_that_is_said() -> None:
    """`brief` tells noise from what is missed."""
    bad = [("api", 600, 660), ("db", 3600, 4200)]
    found = compared(bad, [DOWN], [DOWN + ", for: 2m"], brief=300)
    assert ([case.title for case in found.noise], found.missed, len(found.later)) == (['Down {service="api"}'], (), 1)
    assert len(compared(bad, [DOWN], [DOWN + ", for: 2m"]).missed) == 1
