"""What each error of a notifier means: tried again, read back, told elsewhere, or given up; and never said twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from tocsin.errors import EditLost, Refused, StateError, Throttled, TooLarge, Unavailable, Uncertain
from tocsin.incidents.routes import Route
from tocsin.model import Action, IncidentState, Notification, Reason
from tocsin.state import Change
from tocsin.testing.destination import HANGS, LOST_ANSWER
from tocsin.testing.world import World, plan


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """One destination, `pages`, without a failover."""
    world = await World.open(tmp_path / "state.db")
    yield world
    await world.closes()


@pytest.fixture
async def backed(tmp_path: Path) -> AsyncIterator[World]:
    """`pages` fails over to `mail`."""
    world = await World.open(tmp_path / "state.db", plan(failover={"pages": "mail"}))
    yield world
    await world.closes()


def outcomes(world: World, notifier: str = "pages") -> dict[str, float]:
    """Attempts by outcome, as /metrics counts them; those there were."""
    return {
        sample.labels["outcome"]: sample.value
        for family in world.telemetry.deliveries.collect()
        for sample in family.samples
        if sample.name.endswith("_total") and sample.labels["notifier"] == notifier and sample.value
    }


async def test_a_message_is_sent_and_its_receipt_kept(world: World) -> None:
    """With the time it was acknowledged, and where it is."""
    await world.fires("ApiDown", service="api")
    assert await world.delivers() == 1
    (receipt,) = await world.state.history.receipts(world.incident.id)
    assert (world.channel.actions(), receipt.permalink, receipt.at) == (
        ["post"], "https://chat.example/pages/0", world.clock.now(),
    )  # fmt: skip


async def test_throttled_waits_as_long_as_the_destination_says(world: World) -> None:
    """Not a second less, and everything else for that destination waits with it."""
    world.notifier.faults.append(Throttled("slow down", retry_after=30))
    await world.fires("ApiDown", service="api")
    await world.delivers()
    await world.fires("WebDown", service="web")
    await world.passes(29)
    assert world.channel.actions() == []
    await world.passes(1)
    assert (world.channel.actions(), world.notifier.asked) == (["post", "post"], [])


async def test_an_edit_that_is_throttled_holds_back_no_page(world: World) -> None:
    """Slack limits chat.update and chat.postMessage apart."""
    throttled: list[Notification] = []

    def fault(row: Notification) -> Throttled | None:
        if row.action is not Action.EDIT:
            return None
        throttled.append(row)
        return Throttled("slow down", retry_after=3600)

    world.notifier.fault_of = fault
    await world.fires("ApiDown", service="api")
    await world.delivers()
    await world.fires("ApiDown", service="api", instance="2")
    await world.passes(60)
    await world.fires("WebDown", service="web")
    await world.delivers()
    assert (len(throttled), [each for each in world.channel.actions() if each == "post"]) == (1, ["post", "post"])


async def test_unavailable_is_tried_again_with_growing_pauses(world: World) -> None:
    """It certainly was not delivered, so nothing is read back."""
    tried: list[float] = []
    world.notifier.fault_of = lambda _: tried.append(world.clock.monotonic()) or Unavailable("503")  # type: ignore[func-returns-value]
    await world.fires("ApiDown", service="api")
    await world.passes(120)
    pauses = [after - before for before, after in pairwise(tried)]
    assert all(0.5 <= pause <= 31 for pause in pauses)
    assert pauses[-1] >= 15 > pauses[0]
    world.notifier.fault_of = lambda _: None
    await world.passes(31)
    assert (world.channel.actions(), world.notifier.asked) == (["post"], [])


async def test_a_lost_answer_is_read_back_and_not_said_again(world: World) -> None:
    """It had arrived."""
    world.notifier.faults.append(LOST_ANSWER)
    await world.fires("ApiDown", service="api")
    await world.passes(5)
    assert (world.channel.actions(), len(world.notifier.asked), outcomes(world)) == (
        ["post"], 1, {"uncertain": 1.0, "found": 1.0},
    )  # fmt: skip


async def test_what_did_not_arrive_is_sent_once_that_is_known(world: World) -> None:
    """Read back, not there, sent."""
    world.notifier.faults.append(Uncertain("timeout"))
    await world.fires("ApiDown", service="api")
    await world.passes(5)
    assert (world.channel.actions(), outcomes(world)) == (["post"], {"uncertain": 1.0, "delivered": 1.0})


async def test_a_notifier_that_hangs_is_left_at_its_deadline(world: World) -> None:
    """It may have arrived: read back first."""
    world.notifier.faults.append(HANGS)
    await world.fires("ApiDown", service="api")
    await world.delivers()
    assert (outcomes(world), world.clock.monotonic()) == ({"uncertain": 1.0}, 10.0)
    await world.passes(5)
    assert (world.channel.actions(), len(world.notifier.asked)) == (["post"], 1)


async def test_while_it_can_not_be_read_back_nothing_is_sent(world: World) -> None:
    """Doubt lasts until it is known either way."""
    world.notifier.faults.append(LOST_ANSWER)
    world.notifier.find_faults.extend([Unavailable("503"), Throttled("slow down", retry_after=20), HANGS])
    await world.fires("ApiDown", service="api")
    await world.passes(90)
    assert (world.channel.actions(), len(world.notifier.asked)) == (["post"], 4)


async def test_where_reading_back_is_refused_twice_is_better_than_never(world: World) -> None:
    """The app lacks a scope: it will never know."""
    world.notifier.faults.append(Uncertain("timeout"))
    world.notifier.find_faults.append(Refused("missing_scope"))
    await world.fires("ApiDown", service="api")
    await world.passes(5)
    assert world.channel.actions() == ["post"]


async def test_an_edit_in_doubt_is_simply_made_again(world: World) -> None:
    """It says the same however often."""
    await world.fires("ApiDown", service="api", pod="a")
    await world.delivers()
    world.notifier.faults.append(LOST_ANSWER)
    await world.acks()
    await world.passes(5)
    assert (world.channel.actions(), world.notifier.asked) == (["post", "edit", "edit"], [])


async def test_refused_is_told_elsewhere_at_once_and_only_there_from_then_on(backed: World) -> None:
    """The destination that refuses hears nothing more of the incident."""
    backed.notifier.faults.append(Refused("not_in_channel", mend="invite the app"))
    await backed.fires("ApiDown", service="api")
    await backed.delivers()
    await backed.recovers("ApiDown")
    await backed.delivers()
    mail = backed.channels["mail"]
    assert (backed.channel.actions(), mail.actions()) == ([], ["post", "resolve", "edit"])
    assert mail.said[0].text.endswith("(pages: not_in_channel (invite the app))")


async def test_refused_without_a_failover_waits_to_be_mended(world: World) -> None:
    """A wrong token is not the end: what fired meanwhile is told when it works, or after a reload at once."""
    world.notifier.fault_of = lambda _: Refused("invalid_auth")
    await world.fires("ApiDown", service="api")
    await world.passes(200)
    assert outcomes(world) == {"refused": 1.0}
    world.notifier.fault_of = lambda _: None
    await world.passes(101)
    assert world.channel.actions() == ["post"]


async def test_a_page_without_a_receipt_is_told_elsewhere_on_the_clock(backed: World) -> None:
    """20 s; and who answers after all has it linked in its thread. Both are told the end."""
    backed.notifier.fault_of = lambda _: Unavailable("503")
    await backed.fires("ApiDown", service="api")
    await backed.passes(19)
    assert backed.channels["mail"].actions() == []
    await backed.passes(1)
    assert backed.channels["mail"].actions() == ["post"]
    backed.notifier.fault_of = lambda _: None
    await backed.passes(31)
    assert [said.action.value for said in backed.channel.said] == ["post", "thread"]
    assert "mail was told at 14:02:20" in backed.channel.said[1].text
    await backed.recovers("ApiDown")
    await backed.delivers()
    assert [channel.actions()[-2:] for channel in backed.channels.values()] == [["resolve", "edit"]] * 2


async def test_p1_waits_for_its_destination(backed: World) -> None:
    """Only P0 is worth a second channel."""
    backed.notifier.fault_of = lambda _: Unavailable("503")
    await backed.fires("ApiSlow", severity="P1", service="api")
    await backed.passes(120)
    assert backed.channels["mail"].actions() == []


async def test_a_failover_that_refuses_too_does_not_send_it_back(tmp_path: Path) -> None:
    """Two that fail over to each other: each is tried once, and then it waits to be mended."""
    world = await World.open(tmp_path / "state.db", plan(failover={"pages": "mail", "mail": "pages"}))
    for notifier in world.notifiers.values():
        notifier.fault_of = lambda _: Refused("no")
    await world.fires("ApiDown", service="api")
    await world.passes(60)
    assert (outcomes(world), outcomes(world, "mail")) == (
        {"refused": 1.0, "failed_over": 1.0}, {"refused": 1.0},
    )  # fmt: skip
    world.notifiers["mail"].fault_of = lambda _: None
    await world.passes(300)
    assert world.channels["mail"].actions() == ["post"]
    await world.closes()


async def test_a_message_that_was_deleted_is_posted_anew(world: World) -> None:
    """Somebody removed it: the next thing said about it is a message, and replies follow that."""
    await world.fires("ApiSlow", severity="P1", service="api")
    await world.delivers()
    world.channel.deleted.add("0")
    await world.fires("ApiDown", service="api")
    await world.delivers()
    assert (world.channel.actions(), world.channel.said[-1].text) == (
        ["post", "post"], "was P1, is P0 now (the message that told it is gone: message 0 not found)",
    )  # fmt: skip
    await world.passes(15)
    await world.recovers("ApiDown")
    await world.recovers("ApiSlow")
    await world.passes(15)
    assert [said.on for said in world.channel.said if said.action.value == "resolve"] == ["1"]


async def test_a_message_of_its_own_has_none_that_could_be_gone(world: World) -> None:
    """A destination that says so of what a silence hid is in doubt: it is told so, and not in an incident's name."""
    silence = await world.silences("service=api", seconds=20)
    await world.fires("ApiDown", service="api")
    await world.recovers("ApiDown")
    world.notifier.faults.append(EditLost("message_not_found"))
    await world.passes(60)
    assert [(said.action, said.thread) for said in world.channel.said] == [(Action.DIGEST, silence.id)]


async def test_what_no_form_of_is_accepted_is_a_dead_letter(world: World) -> None:
    """It is listed, and stops nothing else."""
    world.notifier.faults.append(TooLarge("msg_too_long"))
    await world.fires("ApiDown", service="api")
    await world.fires("WebDown", service="web")
    await world.delivers()
    (dead,) = await world.state.history.dead_letters()
    assert (dead.last_error, world.channel.actions()) == ("no form of it was accepted: msg_too_long", ["post"])


async def test_a_bug_in_a_notifier_is_borne_and_then_told_elsewhere(backed: World) -> None:
    """It may have been delivered each time, so each time it is read back."""
    backed.notifier.fault_of = lambda _: KeyError("blocks")
    await backed.fires("ApiSlow", severity="P1", service="api")
    await backed.passes(120)
    assert (outcomes(backed), backed.channels["mail"].actions()) == (
        {"uncertain": 5.0, "failed_over": 1.0}, ["post"],
    )  # fmt: skip


async def test_what_can_not_be_delivered_in_a_day_is_given_up(world: World) -> None:
    """And counted."""
    world.notifier.fault_of = lambda _: Unavailable("gone for good")
    await world.fires("ApiDown", service="api")
    await world.passes(86_400 + 60, every=600)
    (dead,) = await world.state.history.dead_letters()
    assert dead.last_error == "not delivered in 1 day: gone for good"


async def test_one_destination_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    """Each has its own courier."""
    both = Route(name="both", notify=("pages", "mail"), group_by=("service",))
    world = await World.open(tmp_path / "state.db", plan(both))
    world.notifier.faults.append(HANGS)
    await world.fires("ApiDown", service="api")
    await world.delivery.step("mail")
    assert (world.channels["mail"].actions(), world.channel.actions()) == (["post"], [])
    await world.closes()


async def test_a_receipt_that_can_not_be_stored_is_kept_and_the_message_not_sent_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store fails between sent and stored; nothing else is sent there before it is."""
    finish, failures = world.state.outbox.finish, [StateError("disk full"), StateError("disk full")]

    async def failing(*args: object, **named: object) -> None:
        if failures:
            raise failures.pop()
        await finish(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(world.state.outbox, "finish", failing)
    await world.fires("ApiDown", service="api")
    await world.passes(3)
    assert world.channel.actions() == ["post"]
    assert len(await world.state.history.receipts(world.incident.id)) == 1
    assert await world.state.outbox.waiting(world.clock.now()) == ()


@pytest.mark.parametrize("stage", ["before send", "after send"])
async def test_killed_around_the_send_it_is_said_once(world: World, stage: str) -> None:
    """The next process reads back what its predecessor had claimed."""

    class Killed(BaseException):
        pass

    def die(where: str) -> None:
        if where == stage:
            raise Killed

    world.notifier.between = die
    await world.fires("ApiDown", service="api")
    with pytest.raises(Killed):
        await world.delivers()
    world.notifier.between = lambda _: None
    await world.crashes()
    await world.restarts()
    await world.passes(5)
    assert (world.channel.actions(), len(world.notifier.asked)) == (["post"], 1)


async def test_a_follower_without_a_message_to_follow_becomes_one(world: World) -> None:
    """The post was given up, and it still fires: the next word about it is the first."""
    world.notifier.faults.append(TooLarge("too long"))
    await world.fires("ApiSlow", severity="P1", service="api")
    await world.delivers()
    told = world.incident
    row = Notification(
        id=f"{told.id}:pages:broadcast.P0:2", notifier="pages", action=Action.BROADCAST,
        reason=Reason.SEVERITY_ROSE, because="worse", incidents=(told,),
        created_at=told.opened_at, not_before=told.opened_at,
    )  # fmt: skip
    await world.state.commit(Change(calls=(row,)))
    world.looks_again()
    await world.delivers()
    assert [(said.action.value, said.state) for said in world.channel.said] == [("post", IncidentState.OPEN)]
