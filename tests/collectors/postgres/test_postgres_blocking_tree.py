"""Who everybody waits for in the end."""

from __future__ import annotations

from datetime import UTC, datetime

from collectors.postgres.blocking import Session, samples, sessions, trees

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def session(pid: int, *blockers: int, waited: float = 5.0, state: str = "active") -> Session:
    return Session(
        pid=pid, datname="shop", usename="app", application_name="web", state=state, blockers=blockers,
        waited=waited if blockers else 0.0,
    )  # fmt: skip


def roots(*involved: Session) -> dict[int, list[int]]:
    return {tree.root.pid: [victim.pid for victim in tree.victims] for tree in trees(involved)}


def test_a_queue_has_one_root() -> None:
    """2 waits for 1, and 3 for both: the one to look at is 1."""
    assert roots(session(1), session(2, 1), session(3, 1, 2)) == {1: [2, 3]}


def test_two_blockers_are_two_roots() -> None:
    """A victim of both is in both trees, the larger tree first."""
    assert roots(session(1), session(2), session(3, 1, 2), session(4, 2)) == {2: [3, 4], 1: [3]}


def test_a_ring_has_a_root_as_well() -> None:
    """A deadlock that is not yet detected does not vanish for want of a root."""
    assert roots(session(5, 6), session(6, 5)) == {5: [5, 6]}


def test_a_blocker_that_left_is_no_root() -> None:
    """Between two rows of one answer a session may end."""
    assert roots(session(2, 1)) == {}


def test_a_prepared_transaction_is_named_as_one() -> None:
    """pg_blocking_pids calls it 0, and no session has that pid."""
    nobody = {"pid": 0, "datname": None, "usename": None, "application_name": None, "state": None}
    waiter = {"pid": 2, "datname": "shop", "usename": "app", "application_name": "", "state": "active"}
    rows = [{**nobody, "blockers": [], "waited": None}, {**waiter, "blockers": [0], "waited": 3.0}]
    (tree,) = trees(sessions(rows))
    assert (tree.root.state, tree.longest) == ("prepared transaction", 3.0)


def test_only_waits_worth_a_look_make_a_root_series() -> None:
    """Locks are awaited for milliseconds all the time; series with a pid are for those that last."""
    short = samples((session(1), session(2, 1, waited=0.2)), "shop", (), NOW)
    long = samples((session(1), session(2, 1, waited=2.0)), "shop", (), NOW)
    name = "tocsin_pg_blocking_root_victims"
    assert ([s for s in short if s.name == name], [s.value for s in long if s.name == name]) == ([], [1])


def test_nobody_waiting_is_told_as_zero() -> None:
    """A rule needs the zero to resolve."""
    told = {(sample.name, sample.labels["datname"]): sample.value for sample in samples((), "shop", (), NOW)}
    assert told == {("tocsin_pg_blocked_sessions", "shop"): 0, ("tocsin_pg_blocked_max_seconds", "shop"): 0}
