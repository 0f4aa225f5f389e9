"""Routes: who is told about an alert, in which order they are tried, what they inherit."""

from __future__ import annotations

from datetime import UTC, datetime, time

import pytest

from tocsin.incidents.routes import FALLBACK, Digest, Escalation, Route, Router
from tocsin.model import Labels

P0_API = Labels(alertname="ApiDown", severity="P0", service="api")
P2_DISK = Labels(alertname="DiskFills", severity="P2", service="db")

PAGES = Route(match={"severity": "P0"}, notify=("pages",), group_by=("service",))
NOTES = Route(match={"severity": "P2|P3"}, notify=("notes",), digest=Digest())


def names(router: Router, labels: Labels) -> list[str]:
    return [route.name for route in router.routes_of(labels)]


def test_the_first_route_that_matches_takes_the_alert() -> None:
    """A later one that would match too is not tried."""
    assert names(Router([PAGES, Route(notify=("all",), name="all")]), P0_API) == ["severity=P0"]


def test_continue_tries_the_routes_after_it_too() -> None:
    """One alert may have an incident in several routes."""
    first = Route(match={"severity": "P0"}, notify=("pages",), continue_=True)
    assert names(Router([first, Route(notify=("all",), name="all")]), P0_API) == ["severity=P0", "all"]


def test_match_is_anchored() -> None:
    """`P` is not a match for P0, `P.` is."""
    assert names(Router([Route(match={"severity": "P"})]), P0_API) == [FALLBACK]
    assert names(Router([Route(match={"severity": "P."})]), P0_API) == ["severity=P."]


def test_what_no_route_takes_goes_to_the_fallback() -> None:
    """Never silently dropped."""
    router = Router([PAGES], fallback=Route(notify=("console",)))
    taken = router.routes_of(P2_DISK)
    assert [(route.name, route.receivers) for route in taken] == [(FALLBACK, ("console",))]


def test_a_nested_route_inherits_what_it_does_not_say() -> None:
    """notify, group_by, escalation come from the route around it; what it says itself wins."""
    outer = Route(
        match={"severity": "P0"}, notify=("pages",), group_by=("service",),
        escalate=(Escalation(after=300, to=("b",)),),
        routes=(Route(match={"service": "db"}, notify=("dba",)),),
    )  # fmt: skip
    (route,) = Router([outer]).routes_of(P0_API.with_(service="db"))
    assert (route.name, route.receivers, route.group_by, route.escalate) == (
        "severity=P0 / service=db", ("dba",), ("service",), (Escalation(after=300, to=("b",)),),
    )  # fmt: skip


def test_a_parent_takes_what_no_nested_route_takes() -> None:
    """As in Alertmanager."""
    outer = Route(match={"severity": "P0"}, notify=("pages",), routes=(Route(match={"service": "db"}),))
    assert names(Router([outer]), P0_API) == ["severity=P0"]


def test_equal_routes_get_names_of_their_own() -> None:
    """Incidents remember a route by its name."""
    router = Router([Route(match={"severity": "P0"}, continue_=True), Route(match={"severity": "P0"})])
    assert names(router, P0_API) == ["severity=P0", "severity=P0 #2"]


@pytest.mark.parametrize(
    ("group_by", "expected"),
    [
        (None, Labels(alertname="ApiDown")),
        ((), Labels()),
        (("service", "zone"), Labels(service="api")),
        (("...",), P0_API),
    ],
)
def test_group_by(group_by: tuple[str, ...] | None, expected: Labels) -> None:
    """Default by alertname; [] all in one; "..." each alone; a label that is not there does not count."""
    assert Route(group_by=group_by).group_of(P0_API) == expected


def test_explain_names_every_route_that_was_tried() -> None:
    """`tocsin check --route` answers from this."""
    steps = Router([PAGES, NOTES]).explain(P2_DISK)
    assert [(step.route, step.taken, step.why) for step in steps] == [
        ("severity=P0", False, 'severity="P2" is not P0'),
        ("severity=P2|P3", True, "matches; tells notes, grouped by alertname"),
    ]


def test_explain_agrees_with_routing() -> None:
    """The explanation is not a second opinion."""
    outer = Route(match={"severity": "P0"}, routes=(Route(match={"service": "db"}, continue_=True), Route(name="x")))
    router = Router([outer, NOTES])
    for labels in (P0_API, P2_DISK, P0_API.with_(service="db"), Labels(alertname="X")):
        assert [step.route for step in router.explain(labels) if step.taken] == names(router, labels)


def test_the_router_knows_routes_by_name_and_their_notifiers() -> None:
    """Incidents keep only the name; the config check asks for the notifiers."""
    router = Router([PAGES, NOTES], fallback=Route(notify=("console",)))
    assert router.named("severity=P0") is router.routes[0]
    assert router.named("gone") is None
    assert router.notifiers() == {"pages", "notes", "console"}


def test_a_digest_comes_at_its_hour_in_its_zone() -> None:
    """Nine in Berlin is eight in UTC in winter; the next one is strictly later."""
    digest = Digest(at=time(9), zone="Europe/Berlin")
    nine = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
    assert digest.after(datetime(2026, 1, 5, 7, 59, tzinfo=UTC)) == nine
    assert digest.after(nine) == datetime(2026, 1, 6, 8, 0, tzinfo=UTC)


def test_a_digest_follows_the_clock_change() -> None:
    """Berlin, 29 March 2026: the same hour on the wall is an hour earlier in UTC."""
    digest = Digest(at=time(9), zone="Europe/Berlin")
    assert digest.after(datetime(2026, 3, 28, 12, tzinfo=UTC)) == datetime(2026, 3, 29, 7, 0, tzinfo=UTC)


def test_a_digest_in_the_hour_that_is_skipped_is_not_lost() -> None:
    """02:30 does not exist in Berlin on 29 March 2026."""
    digest = Digest(at=time(2, 30), zone="Europe/Berlin")
    due = digest.after(datetime(2026, 3, 28, 12, tzinfo=UTC))
    assert datetime(2026, 3, 29, 0, 30, tzinfo=UTC) <= due <= datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert digest.after(due) == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: Route(match={"severity": "("}), "regular expression"),
        (lambda: Route(group_by=("...", "service")), "stands alone"),
        (lambda: Route(escalate=(Escalation(after=9, to=("a",)), Escalation(after=5, to=("b",)))), "in the order"),
        (lambda: Escalation(after=0, to=("a",)), "above 0"),
        (lambda: Escalation(after=5, to=()), "at least one"),
        (lambda: Digest(zone="Mars/Olympus"), "time zone"),
    ],
)
def test_a_route_that_makes_no_sense_is_refused(build: object, says: str) -> None:
    """With words that say what to write instead."""
    with pytest.raises(ValueError, match=says):
        build()  # type: ignore[operator]


@pytest.mark.parametrize(("word", "route"), [("critical", "P0|P1"), ("warning", "P2"), ("p1", "P0|P1"), ("info", "P3")])
def test_the_words_of_public_rules_find_the_route_of_their_severity(word: str, route: str) -> None:
    """Rules that a team already has run unchanged, and `critical` wakes somebody."""
    router = Router([Route(match={"severity": each}) for each in ("P0|P1", "P2", "P3")])
    assert [taken.name for taken in router.routes_of({"severity": word})] == [f"severity={route}"]


def test_a_route_may_still_name_the_word_itself() -> None:
    """`severity: critical` matches the label as it is written."""
    router = Router([Route(match={"severity": "critical"})])
    assert [taken.name for taken in router.routes_of({"severity": "critical"})] == ["severity=critical"]
