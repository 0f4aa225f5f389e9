"""The configuration becomes what the incidents' policy takes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import time

from tocsin.config import Config, plan_of, router_of
from tocsin.incidents.routes import Digest, Escalation
from tocsin.model import Labels, Mention

Load = Callable[..., Config]

TEXT = """
    timezone: Europe/Berlin
    routes:
      - match: {severity: P0}
        notify: [pages]
        group_by: [service]
        escalate: {after: 5m, to: ana}
        mentions: [here, ana]
        repeat: 1h
        continue: true
        routes:
          - {match: {service: api}, notify: [backup], digest: {at: 08:30}}
      - {match: {severity: "P2|P3"}, digest: daily, notify: [backup]}
    notifiers:
      - {kind: chat, name: pages, channel: C1, failover: backup, mentions: {ana: U1}}
      - {kind: plain, name: backup}
"""


def test_a_route_keeps_everything_it_says(load: Load) -> None:
    """Times in seconds, people as mentions."""
    route = router_of(load(TEXT)).routes[0]
    assert (
        route.match,
        route.notify,
        route.group_by,
        route.escalate,
        route.mentions,
        route.repeat,
        route.continue_,
    ) == (
        {"severity": "P0"},
        ("pages",),
        ("service",),
        (Escalation(after=300, to=("ana",)),),
        (Mention(kind="here"), Mention(kind="user", id="ana")),
        3600.0,
        True,
    )


def test_a_daily_digest_is_at_the_files_hour(load: Load) -> None:
    """And a route may have its own, in the file's zone."""
    outer, nested = router_of(load(TEXT)).routes[1], router_of(load(TEXT)).routes[0].routes[0]
    assert (outer.digest, nested.digest) == (
        Digest(at=time(9), zone="Europe/Berlin"),
        Digest(at=time(8, 30), zone="Europe/Berlin"),
    )


def test_what_no_route_takes_goes_to_the_first_notifier(load: Load) -> None:
    """Nothing is told to nobody."""
    (route,) = router_of(load(TEXT)).routes_of(Labels(severity="P1"))
    assert route.receivers == ("pages",)


def test_destinations_can_what_their_kinds_can(load: Load, known_notifiers: object) -> None:
    """Edits are the plug-in's, the fail-over is the file's."""
    plan = plan_of(load(TEXT), known_notifiers)  # type: ignore[arg-type]
    assert {name: (to.edits, to.failover) for name, to in plan.destinations.items()} == {
        "pages": (True, "backup"),
        "backup": (False, None),
    }


def test_contacts_are_the_names_that_notifiers_know(load: Load, known_notifiers: object) -> None:
    """Which person that is, each notifier says for itself."""
    plan = plan_of(load(TEXT), known_notifiers)  # type: ignore[arg-type]
    assert plan.contacts == {"ana": (Mention(kind="user", id="ana"),)}
