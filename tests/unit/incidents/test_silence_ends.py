"""A silence that has ended tells what it hid: once, where it would have been told, and no more than that."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tocsin.errors import Refused, Unavailable
from tocsin.incidents import Destination, Plan
from tocsin.incidents.hidden import NAMED, report
from tocsin.incidents.matching import parse_matcher
from tocsin.incidents.routes import Route, Router
from tocsin.model import Action, IncidentState, Mention, Reason, Severity, Silence
from tocsin.state.account import balance
from tocsin.testing.clock import START
from tocsin.testing.destination import LOST_ANSWER, Said
from tocsin.testing.notifications import an_incident
from tocsin.testing.world import World, plan

EACH = plan(Route(name="pages", notify=("pages",), group_by=("alertname", "service")))
HOUR = 3600.0


def reports(world: World, channel: str = "pages") -> list[Said]:
    return [said for said in world.channels[channel].said if said.action is Action.DIGEST]


async def hidden(world: World) -> list[bool]:
    """What the store knows to be hidden, and whether it was told."""
    assert world.book.silences
    found = await world.state.history.hidden(world.at(-90 * 86_400))
    return [entry.told_at is not None for entries in found.values() for entry in entries]


async def test_what_ended_under_it_is_told_when_it_ends(tmp_path: Path) -> None:
    """Its maker learns what nobody saw: how many alerts in how many incidents, and which."""
    world = await World.open(tmp_path / "state.db", EACH)
    made = await world.silences("service=api", seconds=HOUR, why="the export")
    for name in ("ApiDown", "ApiSlow"):
        await world.fires(name, "P1" if name == "ApiSlow" else "P0", service="api")
    await world.passes(600)
    await world.recovers("ApiDown", service="api")
    await world.recovers("ApiSlow", service="api")
    ids = {incident.id for incident in world.incidents}
    await world.passes(HOUR, every=30)
    (said,) = world.channel.said
    text = f"silence {made.id} of ana (the export) has ended. It hid 2 alerts in 2 incidents, 1 of them P0; "
    assert (said.action, said.text, set(said.incidents)) == (Action.DIGEST, text + "none fires any more", ids)
    assert await hidden(world) == [True, True]
    assert (await balance(world.state, world.clock.now())).outcomes == {"silence_told": 2}
    await world.closes()


async def test_what_still_fires_is_posted_as_it_is_due_and_named(tmp_path: Path) -> None:
    """Its own message comes first, once; what was hidden follows, and says that it fires."""
    world = await World.open(tmp_path / "state.db", EACH)
    await world.silences("service=api", seconds=HOUR)
    await world.fires("ApiDown", service="api")
    await world.passes(HOUR + 60, every=30)
    assert world.channel.actions() == ["post", "digest"]
    (said,) = reports(world)
    assert said.states == (IncidentState.OPEN,)
    assert said.text.endswith("It hid 1 alert in 1 incident, 1 of them P0; 1 still fires")
    await world.recovers("ApiDown", service="api")
    await world.passes(HOUR, every=30)
    assert len(reports(world)) == 1
    assert world.channel.of(said.incident, Action.RESOLVE) != []
    await world.closes()


async def test_it_tells_at_once_when_somebody_ends_it(tmp_path: Path) -> None:
    """Expired by hand is ended."""
    world = await World.open(tmp_path / "state.db", EACH)
    made = await world.silences("service=api", seconds=HOUR)
    await world.fires("ApiDown", service="api")
    await world.recovers("ApiDown", service="api")
    await world.ends_silence(made.id)
    await world.delivers()
    assert world.channel.actions() == ["digest"]
    await world.passes(2 * HOUR, every=60)
    assert world.channel.actions() == ["digest"]
    await world.closes()


async def test_one_that_hid_nothing_says_nothing(tmp_path: Path) -> None:
    """Nor one that came after the message: what it held back was told before, and so is the end."""
    world = await World.open(tmp_path / "state.db", EACH)
    await world.fires("ApiDown", service="api")
    await world.delivers()
    await world.silences("service=api", seconds=HOUR)
    await world.silences("service=web", seconds=HOUR)
    await world.passes(60)
    await world.recovers("ApiDown", service="api")
    await world.passes(2 * HOUR, every=60)
    assert world.channel.actions() == ["post", "resolve", "edit"]
    assert await hidden(world) == []
    await world.closes()


async def test_that_it_came_back_or_became_worse_is_hidden_too(tmp_path: Path) -> None:
    """Who was told P1 and nothing of P0 wants to know."""
    world = await World.open(tmp_path / "state.db", plan())
    await world.fires("ApiSlow", "P1", service="api")
    await world.delivers()
    await world.silences("service=api", seconds=HOUR)
    await world.fires("ApiDown", "P0", service="api")
    await world.recovers("ApiDown", service="api")
    await world.recovers("ApiSlow", service="api")
    await world.passes(2 * HOUR, every=60)
    assert [said.text.partition("It ")[2] for said in reports(world)] == [
        "hid 2 alerts in 1 incident, 1 of them P0; none fires any more"
    ]
    await world.closes()


@pytest.mark.parametrize("when", ["held", "ended"])
async def test_a_restart_forgets_nothing_and_repeats_nothing(tmp_path: Path, when: str) -> None:
    """What is hidden is a row, written with the decision; so is that it was told."""
    world = await World.open(tmp_path / "state.db", EACH)
    await world.silences("service=api", seconds=HOUR)
    await world.fires("ApiDown", service="api")
    await world.recovers("ApiDown", service="api")
    await world.passes(HOUR / 2, every=60)
    if when == "held":
        await world.crashes()
        world.clock.pass_(2 * HOUR)  # it ends while nobody runs
    else:
        world.clock.pass_(HOUR)
        await world.ticks()  # queued, not sent
        await world.crashes()
    await world.restarts()
    await world.passes(HOUR, every=60)
    await world.crashes()
    await world.restarts()
    await world.passes(HOUR, every=60)
    assert world.channel.actions() == ["digest"]
    assert not world.incidents  # it left the book
    await world.closes()


async def test_a_lost_answer_is_read_back_and_a_refusal_is_told_elsewhere(tmp_path: Path) -> None:
    """It goes through the outbox like everything else."""
    world = await World.open(tmp_path / "state.db", replace(plan(failover={"pages": "mail"})))
    for fault in (LOST_ANSWER, Refused("not in channel")):
        made = await world.silences("service=api", seconds=HOUR)
        await world.fires("ApiDown", service="api")
        await world.recovers("ApiDown", service="api")
        world.notifier.faults += [Unavailable("down"), fault]
        await world.ends_silence(made.id)
        await world.passes(HOUR, every=10)
    assert [len(reports(world)), len(reports(world, "mail"))] == [1, 1]
    assert (await balance(world.state, world.clock.now())).balances
    await world.closes()


async def test_the_longest_of_several_tells(tmp_path: Path) -> None:
    """What another silence goes on hiding is not told when the shorter one ends."""
    world = await World.open(tmp_path / "state.db", EACH)
    await world.silences("service=api", seconds=HOUR)
    longest = await world.silences("alertname=ApiDown", seconds=3 * HOUR)
    await world.fires("ApiDown", service="api")
    await world.recovers("ApiDown", service="api")
    await world.passes(2 * HOUR, every=60)
    assert world.channel.said == []
    await world.passes(2 * HOUR, every=60)
    assert [said.id.partition(":")[0] for said in reports(world)] == [longest.id]
    await world.closes()


async def test_a_destination_that_is_gone_has_an_heir(tmp_path: Path) -> None:
    """A reload that renames the notifier does not lose it."""
    world = await World.open(tmp_path / "state.db", EACH)
    await world.silences("service=api", seconds=HOUR)
    await world.fires("ApiDown", service="api")
    await world.recovers("ApiDown", service="api")
    route = Route(name="pages", notify=("chat",), group_by=("alertname", "service"))
    only = {"chat": Destination(name="chat", edits=True)}
    await world.reloads(Plan(router=Router((route,), fallback=Route(notify=("chat",))), destinations=only))
    await world.passes(2 * HOUR, every=60)
    assert [len(reports(world)), len(reports(world, "chat"))] == [0, 1]
    await world.closes()


async def test_its_maker_is_mentioned_where_known_and_no_page_waits_for_it(tmp_path: Path) -> None:
    """A name of `contacts` is woken as nobody else is; the row is in the last lane."""
    contacts = {"ana": (Mention(kind="user", id="U0ANA"),)}
    world = await World.open(tmp_path / "state.db", replace(EACH, contacts=contacts))
    await world.silences("service=api", seconds=HOUR)
    await world.fires("ApiDown", service="api")
    world.clock.pass_(HOUR)
    await world.ticks()
    claims = await world.state.outbox.claim_due("pages", world.clock.now(), owner="me", lease=60, limit=5)
    rows = [(c.notification.action, c.notification.reason, c.notification.mentions) for c in claims]
    assert rows == [
        (Action.POST, Reason.NEW_INCIDENT, ()),
        (Action.DIGEST, Reason.SILENCE_ENDED, contacts["ana"]),
    ]
    await world.closes()


def test_of_very_many_the_worst_are_named_and_all_are_counted() -> None:
    """A message has its limits; the figures have none."""
    silence = Silence(
        id="s-1", matchers=(parse_matcher("alertname=~.+"),), starts_at=START, ends_at=START + timedelta(hours=1),
        created_by="a" * 100, why="w" * 100,
    )  # fmt: skip
    incidents = [
        an_incident(id=f"i-{n}", severity=Severity.P0 if n == 1999 else Severity.P2) for n in range(2000)
    ]  # fmt: skip
    told = report(silence, "pages", incidents, silence.ends_at)
    assert (len(told.incidents), told.incidents[0].id) == (NAMED, "i-1999")
    assert told.because == (
        f"silence s-1 of {'a' * 60} ({'w' * 60}) has ended. It hid 2,000 alerts in 2,000 incidents, 1 of them P0; "
        "2,000 still fire"
    )
