"""What is asked from outside the daemon is done once, in order, and answered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tocsin.errors import StateError
from tocsin.incidents import Book, Destination, Outcome, Plan, react
from tocsin.incidents.routes import Route, Router
from tocsin.model import IncidentState, Silence, Transition
from tocsin.state import State
from tocsin.state.inbox import KEPT, Ack, Answer, Expire, Hush, Inbox, Refusal, Request, Resolve, request_of
from tocsin.testing.clock import START
from tocsin.testing.empty_store import empty_store
from tocsin.testing.notifications import an_alert

SILENCE = Silence(
    id="s-1",
    matchers=(),
    starts_at=START,
    ends_at=START + timedelta(hours=2),
    created_by="ana",
    why="deploy",
)


class Daemon:
    """A book with one open incident, and the pipeline's `act`."""

    def __init__(self) -> None:
        from tocsin.incidents.matching import parse_matcher

        plan = Plan(
            router=Router([Route(name="pages", notify=("pages",))]), destinations={"pages": Destination(name="pages")}
        )
        transition = Transition(alert=an_alert(), before=None, at=START)
        self.book = react(Book(plan=plan), [transition], START).book
        (self.incident,) = self.book.files
        self.silence = replace(SILENCE, matchers=(parse_matcher("service=checkout-api"),))

    async def act(self, action: Callable[[Book, datetime], Outcome]) -> Outcome:
        outcome = action(self.book, START)
        self.book = outcome.book
        return outcome

    @property
    def state(self) -> IncidentState:
        return self.book.files[self.incident].incident.state


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[State]:
    (tmp_path / "state.db").write_bytes(empty_store())
    state = await State.open(f"sqlite:///{tmp_path}/state.db")
    yield state
    await state.close()


@pytest.fixture
def inbox(state: State) -> Inbox:
    return Inbox(state)


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


async def answered(inbox: Inbox, daemon: Daemon, request: Request) -> Answer | None:
    id = await inbox.ask(request, START)
    await inbox.serve(daemon.act, START)
    return await inbox.answer(id)


async def test_an_ack_is_done_and_answered(inbox: Inbox, daemon: Daemon) -> None:
    """As if somebody had clicked it."""
    answer = await answered(inbox, daemon, Ack(incident=daemon.incident, by="ana"))
    assert (daemon.state, answer) == (
        IncidentState.ACKED,
        Answer(done=True, text=f"{daemon.incident} acknowledged by ana"),
    )


async def test_a_second_ack_says_who_was_first(inbox: Inbox, daemon: Daemon) -> None:
    """And changes nothing."""
    await answered(inbox, daemon, Ack(incident=daemon.incident, by="ana"))
    answer = await answered(inbox, daemon, Ack(incident=daemon.incident, by="ben"))
    assert answer == Answer(done=True, text=f"{daemon.incident} was acknowledged by ana already")


async def test_an_incident_is_closed(inbox: Inbox, daemon: Daemon) -> None:
    """With who and why."""
    await answered(inbox, daemon, Resolve(incident=daemon.incident, by="ana", why="rolled back"))
    assert daemon.book.files[daemon.incident].incident.resolved_why == "ana closed it: rolled back"


async def test_a_silence_holds_from_then_on(inbox: Inbox, daemon: Daemon) -> None:
    """What was asked for is what is in the book."""
    await answered(inbox, daemon, Hush(silence=daemon.silence))
    assert daemon.book.silences == {"s-1": daemon.silence}


async def test_a_silence_is_ended(inbox: Inbox, daemon: Daemon) -> None:
    """Its end is now."""
    await answered(inbox, daemon, Hush(silence=daemon.silence))
    await answered(inbox, daemon, Expire(id="s-1"))
    assert daemon.book.silences["s-1"].ends_at == START


async def test_a_silence_that_has_not_begun_never_does(inbox: Inbox, daemon: Daemon) -> None:
    """Ending it moves its beginning, too."""
    later = replace(daemon.silence, starts_at=START + timedelta(hours=1))
    await answered(inbox, daemon, Hush(silence=later))
    await answered(inbox, daemon, Expire(id="s-1"))
    ended = daemon.book.silences["s-1"]
    assert (ended.starts_at, ended.ends_at) == (START, START)


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (Ack(incident="i-x", by="ana"), "there is no open incident i-x; see: tocsin incidents list"),
        (Resolve(incident="i-x", by="ana", why=""), "there is no open incident i-x; see: tocsin incidents list"),
        (Expire(id="s-x"), "there is no silence s-x; see: tocsin silence list"),
        (Hush(silence=SILENCE), "a silence needs at least one matcher, e.g. alertname=ApiDown"),
    ],
)
async def test_what_cannot_be_done_is_answered_with_why(
    inbox: Inbox, daemon: Daemon, request_: Request, why: str
) -> None:
    """And the daemon goes on."""
    assert await answered(inbox, daemon, request_) == Answer(done=False, text=why)


async def test_requests_are_done_in_the_order_they_were_asked(inbox: Inbox, daemon: Daemon) -> None:
    """A silence that is made and ended is ended."""
    await inbox.ask(Hush(silence=daemon.silence), START)
    await inbox.ask(Expire(id="s-1"), START + timedelta(milliseconds=1))
    await inbox.serve(daemon.act, START)
    assert daemon.book.silences["s-1"].ends_at == START


async def test_a_request_waits_for_a_daemon(state: State, daemon: Daemon, tmp_path: Path) -> None:
    """It is durable when `ask` returns; the daemon may start later."""
    id = await Inbox(state).ask(Ack(incident=daemon.incident, by="ana"), START)
    await state.close()
    reopened = await State.open(f"sqlite:///{tmp_path}/state.db")
    assert await Inbox(reopened).answer(id) is None
    await Inbox(reopened).serve(daemon.act, START)
    await reopened.close()
    assert daemon.state is IncidentState.ACKED


async def test_a_request_whose_answer_was_not_stored_is_done_again(inbox: Inbox, daemon: Daemon) -> None:
    """A daemon killed between the deed and the answer: each request twice is the same as once."""
    request = Ack(incident=daemon.incident, by="ana")
    once = request.apply(daemon.book, START).book
    twice = request.apply(once, START).book
    assert twice.files[daemon.incident].incident == once.files[daemon.incident].incident


async def test_a_request_is_left_when_the_store_refuses(inbox: Inbox, daemon: Daemon) -> None:
    """Done at the next turn."""

    async def failing(action: Callable[[Book, datetime], Outcome]) -> Outcome:
        raise StateError("the disk is full")

    id = await inbox.ask(Ack(incident=daemon.incident, by="ana"), START)
    with pytest.raises(StateError):
        await inbox.serve(failing, START)
    await inbox.serve(daemon.act, START)
    assert await inbox.answer(id) == Answer(done=True, text=f"{daemon.incident} acknowledged by ana")


async def test_an_answer_is_given_once(inbox: Inbox, daemon: Daemon) -> None:
    """Its row is gone then."""
    id = await inbox.ask(Expire(id="s-x"), START)
    await inbox.serve(daemon.act, START)
    assert await inbox.answer(id) is not None
    assert (await inbox.answer(id), await inbox.serve(daemon.act, START)) == (None, 0)


async def test_an_answer_that_nobody_fetches_is_forgotten(inbox: Inbox, daemon: Daemon) -> None:
    """Rows don't pile up."""
    id = await inbox.ask(Expire(id="s-x"), START)
    await inbox.serve(daemon.act, START)
    await inbox.serve(daemon.act, START + KEPT + timedelta(seconds=1))
    assert await inbox.answer(id) is None


@pytest.mark.parametrize("document", [{"do": "dance"}, {"do": "ack"}, {"do": "silence", "id": "s"}, {}])
def test_a_request_of_another_version_is_refused(document: dict[str, str]) -> None:
    """Never a crash of the daemon's loop."""
    with pytest.raises(Refusal, match="same version of Tocsin"):
        request_of(document)


def test_a_request_survives_being_stored() -> None:
    """Every kind, with every field."""
    daemon = Daemon()
    requests: list[Request] = [
        Ack(incident="i", by="a"), Resolve(incident="i", by="a", why="w"), Hush(silence=daemon.silence), Expire(id="s"),
    ]  # fmt: skip
    assert [request_of(request.json()) for request in requests] == requests


async def test_what_a_follower_was_sent_is_taken_once_by_the_leader(state: State) -> None:
    """Alerts, and events for a collector, in the order that they came; nobody is answered."""
    inbox, taken = Inbox(state), []

    async def receive(alerts: Sequence[Mapping[str, Any]]) -> None:
        taken.append(("alerts", list(alerts)))

    async def push(collector: str, body: bytes) -> None:
        taken.append((collector, body))

    await inbox.hand_on([{"labels": {"alertname": "Down"}}], START)
    await inbox.hand_on_events("auth", b'[{"id":"x"}]' * 1000, START + timedelta(seconds=1))
    for _ in range(2):
        assert await inbox.serve(Daemon().act, START, receive=receive, push=push) == 0
    assert taken == [("alerts", [{"labels": {"alertname": "Down"}}]), ("auth", b'[{"id":"x"}]' * 1000)]
