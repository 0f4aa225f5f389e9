"""Storms: a destination's budget, what P0 may have beyond it, and the one summary that counts the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tocsin.errors import Refused
from tocsin.incidents import Budget, Plan
from tocsin.incidents.routes import Route
from tocsin.incidents.storms import CALM, Level
from tocsin.model import Action, IncidentState, Labels, Mention, Reason, Severity
from tocsin.testing.clock import START as NOW
from tocsin.testing.world import World, plan

BUDGET = Budget(burst=3, every=60, reserve=2)
WAKE = (Mention(kind="group", id="S1"),)
EACH = Route(name="each", match={"severity": "P0|P1|P2"}, notify=("pages",), group_by=("service",), mentions=WAKE)


def stormy(budget: Budget = BUDGET) -> Plan:
    base = plan(EACH)
    pages = replace(base.destinations["pages"], budget=budget)
    return replace(base, destinations={**base.destinations, "pages": pages})


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Three messages at once, then one a minute; two more for P0."""
    world = await World.open(tmp_path / "state.db", stormy())
    yield world
    await world.closes()


def services(*names: str, severity: str = "P1") -> list[Labels]:
    return [Labels(alertname="Down", service=name, severity=severity) for name in names]


def test_a_budget_is_spent_and_comes_back() -> None:
    """Never more than the burst."""
    level = Level.full(BUDGET, NOW)
    for _ in range(3):
        assert level.until(BUDGET, Severity.P1) is None
        level = level.spent()
    assert level.until(BUDGET, Severity.P1) == NOW + timedelta(seconds=60)
    assert level.now(BUDGET, NOW + timedelta(seconds=60)).until(BUDGET, Severity.P1) is None
    assert level.now(BUDGET, NOW + timedelta(days=1)).tokens == 3.0


def test_p0_has_a_reserve() -> None:
    """And when that is spent too, it waits its turn."""
    level = Level.full(BUDGET, NOW)
    for _ in range(5):
        assert level.until(BUDGET, Severity.P0) is None
        level = level.spent()
    assert level.until(BUDGET, Severity.P0) == NOW + timedelta(seconds=60)


def test_a_clock_that_jumps_back_takes_nothing_away() -> None:
    """Nothing comes back for time that has not passed."""
    level = Level.full(BUDGET, NOW).spent()
    assert level.now(BUDGET, NOW - timedelta(hours=1)).tokens == 2.0


async def test_past_the_budget_one_summary_tells_the_rest(world: World) -> None:
    """With its own counts, and it wakes whom the routes would have woken."""
    await world.all_fire(services(*"abcdefgh"))
    await world.delivers()
    assert world.channel.actions() == ["post"] * 4
    summary = world.channel.said[-1]
    assert summary.text == "8 incidents in 0s: 3 posts sent, 5 folded in here, 0 dropped"
    assert (len(summary.incidents), summary.id.split("-")[0]) == (5, "storm")
    queued = await world.state.history.story(world.incidents[-1].id)
    assert queued is not None
    assert [kept.decision.reason for kept in queued.decisions] == [Reason.OVER_BUDGET]


async def test_the_worst_have_the_first_claim(world: World) -> None:
    """However they came."""
    await world.all_fire([*services(*"abcdef", severity="P2"), *services("x", "y", severity="P0")])
    await world.delivers()
    posts = [said for said in world.channel.said if not said.id.startswith("storm")]
    assert [said.severity.value for said in posts] == ["P0", "P0", "P2"]


async def test_p0_gets_through_a_storm(world: World) -> None:
    """By its reserve."""
    await world.all_fire(services(*"abcdef", severity="P2"))
    await world.all_fire(services("checkout", severity="P0"))
    await world.delivers()
    assert (world.channel.said[0].severity, world.channel.said[0].action) == (Severity.P0, Action.POST)


async def test_more_of_the_same_storm_are_edited_in(world: World) -> None:
    """At most every ten seconds, and no second summary."""
    await world.all_fire(services(*"abcd"))
    await world.delivers()
    for name in "efg":
        await world.all_fire(services(name))
        await world.passes(1)
    await world.passes(10)
    storm = [said for said in world.channel.said if said.id.startswith("storm")]
    assert [(said.action.value, len(said.incidents)) for said in storm] == [("post", 1), ("edit", 4)]


async def test_a_summary_tells_the_end_of_every_incident_it_told(world: World) -> None:
    """Edited as they end, and a reply when the last has."""
    await world.all_fire(services(*"abcde"))
    await world.delivers()
    await world.recovers("Down", service="d")
    await world.passes(15)
    (edit,) = [said for said in world.channel.said if said.action is Action.EDIT]
    assert edit.text.endswith("; 1 of the 2 is over")
    await world.recovers("Down", service="e")
    await world.passes(15)
    storm = [said for said in world.channel.said if said.id.startswith("storm")]
    assert [said.action.value for said in storm] == ["post", "edit", "resolve", "edit"]
    assert set(storm[-1].states) == {IncidentState.RESOLVED}
    assert world.book.storms == {}


async def test_what_fires_again_after_the_storm_is_a_story_of_its_own(world: World) -> None:
    """Its summary is over."""
    await world.all_fire(services(*"abcd"))
    await world.delivers()
    await world.recovers("Down", service="d")
    await world.passes(90)
    await world.all_fire(services("d"))
    await world.delivers()
    last = world.channel.said[-1]
    assert (last.action, last.id.startswith("i-")) == (Action.POST, True)


async def test_what_fires_again_in_the_instant_of_its_end_has_a_summary_of_its_own(world: World) -> None:
    """The first one's messages are told already: under its id the second's would count as said."""
    await world.all_fire(services(*"abcd"))
    await world.delivers()
    await world.recovers("Down", service="d")
    await world.all_fire(services("d"))
    await world.delivers()
    posts = [said for said in world.channel.said if said.id.startswith("storm") and said.action is Action.POST]
    assert [said.states for said in posts] == [(IncidentState.OPEN,)] * 2
    assert set(world.book.storms) == {posts[-1].thread} != {posts[0].thread}


async def test_what_becomes_worse_in_a_storm_is_told_by_itself(world: World) -> None:
    """P0 has its reserve."""
    await world.all_fire(services(*"abcd", severity="P2"))
    await world.delivers()
    await world.all_fire(services("d", severity="P0"))
    await world.delivers()
    posts = [said for said in world.channel.said if said.action is Action.POST and said.id.startswith("i-")]
    assert (len(posts), posts[-1].severity, posts[-1].text) == (4, Severity.P0, "it was P2 in a storm and is P0 now")


async def test_a_summary_that_becomes_a_page_says_so_aloud(tmp_path: Path) -> None:
    """Where even the reserve is spent: an edit rings nobody."""
    world = await World.open(tmp_path / "state.db", stormy(Budget(burst=1, every=3600, reserve=0)))
    await world.all_fire(services(*"abc", severity="P2"))
    await world.delivers()
    await world.all_fire(services("d", severity="P0"))
    await world.delivers()
    storm = [said for said in world.channel.said if said.id.startswith("storm")]
    assert [said.action.value for said in storm] == ["post", "broadcast"]
    await world.closes()


async def test_a_later_storm_opens_a_summary_of_its_own(world: World) -> None:
    """What is folded into an hour-old message nobody sees."""
    await world.all_fire(services(*"abcd"))
    await world.passes(CALM.total_seconds())
    await world.all_fire(services(*"efgh"))
    await world.delivers()
    storms = {said.id.split(":")[0] for said in world.channel.said if said.id.startswith("storm")}
    assert len(storms) == 2


async def test_a_restart_in_a_storm_goes_on_with_its_summary(world: World) -> None:
    """And pays its debts."""
    await world.all_fire(services(*"abcde"))
    await world.delivers()
    before = world.book.storms
    await world.crashes()
    await world.restarts()
    assert world.book.storms == before
    await world.recover_all(Labels())
    await world.passes(15)
    storm = [said.action.value for said in world.channel.said if said.id.startswith("storm")]
    assert storm == ["post", "resolve", "edit"]


async def test_a_summary_that_is_refused_is_told_elsewhere_with_its_end(tmp_path: Path) -> None:
    """Where it is from then on."""
    base = plan(EACH, failover={"pages": "mail"})
    pages = replace(base.destinations["pages"], budget=BUDGET)
    world = await World.open(tmp_path / "state.db", replace(base, destinations={**base.destinations, "pages": pages}))
    world.notifier.fault_of = lambda row: Refused("no") if row.id.startswith("storm") else None
    await world.all_fire(services(*"abcde"))
    await world.passes(5)
    await world.recovers("Down", service="e")
    await world.passes(15)
    await world.recovers("Down", service="d")
    await world.passes(15)
    assert world.channels["mail"].actions() == ["post", "edit", "resolve", "edit"]
    assert not any(said.id.startswith("storm") for said in world.channel.said)
    await world.closes()


@pytest.mark.untraced  # a thousand turns of the same code: traced, they take three times as long
async def test_a_thousand_incidents_of_one_cause_are_a_handful_of_messages(world: World) -> None:
    """Whatever they are grouped by."""
    await world.all_fire([Labels(alertname="Down", service=str(n), severity="P1") for n in range(1000)])
    await world.passes(60)
    await world.recover_all(Labels())
    await world.passes(60)
    storm = [said for said in world.channel.said if said.id.startswith("storm")]
    assert [said.action.value for said in storm] == ["post", "resolve", "edit"]
    assert {said.state for said in world.channel.said if said.action is Action.RESOLVE} == {IncidentState.RESOLVED}
    assert sum(said.action is Action.POST for said in world.channel.said) == 4


async def test_a_summary_whose_end_waits_leaves_a_debt_to_the_heir_of_its_destination(tmp_path: Path) -> None:
    """Told in the summary, ended, fired again behind a silence; then the destination is replaced: the heir is told."""
    base = plan(replace(EACH, notify=("chat",)))
    chat = replace(base.destinations["chat"], budget=BUDGET)
    world = await World.open(tmp_path / "state.db", replace(base, destinations={**base.destinations, "chat": chat}))
    await world.all_fire(services(*"abcd"))
    await world.delivers()
    await world.recovers("Down", service="d")
    while world.book.storms:  # decided, and delivered to nobody
        world.clock.jump(10)
        await world.ticks()
    await world.silences("service=d", seconds=3600)
    await world.all_fire(services("d"))
    (incident,) = [each.id for each in world.incidents if each.group["service"] == "d"]
    await world.reloads(plan(EACH))
    await world.recovers("Down", service="d")
    await world.passes(600)
    told = [said.state_of(incident) for said in world.channel.said if incident in said.incidents]
    assert set(told) == {IncidentState.RESOLVED}
    await world.closes()
