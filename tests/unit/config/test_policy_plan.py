"""The configuration becomes what the incidents' policy takes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import time

import pytest

from tocsin.config import Config, plan_of, router_of
from tocsin.errors import ConfigError
from tocsin.incidents.dependencies import Dependency
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


def test_windows_and_dependencies_reach_the_policy(load: Load, known_notifiers: object) -> None:
    """A window without a zone takes the file's."""
    plan = plan_of(
        load(
            TEXT
            + """
    windows:
      - {name: export, cron: "30 2 * * mon-fri", lasts: 45m, match: {service: reports}, why: slow}
      - {name: night, cron: "0 0 * * *", lasts: 1h, match: {alertname: .+}, timezone: UTC}
    dependencies:
      - {match: {alertname: "Endpoint.*"}, depends_on: {alertname: PostgresDown}, equal: service, settle: 30s}
"""
        ),
        known_notifiers,  # type: ignore[arg-type]
    )
    assert [(each.name, each.lasts, each.zone, each.why) for each in plan.windows] == [
        ("export", 2700.0, "Europe/Berlin", "slow"),
        ("night", 3600.0, "UTC", ""),
    ]
    assert plan.dependencies == (
        Dependency(
            match={"alertname": "Endpoint.*"}, depends_on={"alertname": "PostgresDown"}, equal=("service",), settle=30.0
        ),
    )


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        ('windows: [{name: w, cron: "0 3 * *", lasts: 1h, match: {a: b}}]', "windows[w].cron", "needs five"),
        ('windows: [{name: w, cron: "0 * * * *", lasts: 1h, match: {a: b}}]', "windows[w]", "would never end"),
        ('windows: [{name: w, cron: "0 3 * * *", lasts: 1h, match: {}}]', "windows[w].match", ""),
        ('windows: [{name: w, cron: "0 3 * * *", lasts: 1h, match: {a: "("}}]', "windows[w].match", "RE2"),
        ("dependencies: [{match: {a: b}, depends_on: {1a: b}}]", "dependencies[0].depends_on", "not a label name"),
    ],
)
def test_a_window_or_dependency_that_cannot_work_is_named(load: Load, text: str, key: str, says: str) -> None:
    """With its line, as every key."""
    with pytest.raises(ConfigError) as error:
        load("    " + text)
    whole = str(error.value)
    assert key in whole, whole
    assert says in whole, whole
    assert "config.yaml:1" in whole, whole
