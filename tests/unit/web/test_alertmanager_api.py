"""Alertmanager's API: alerts come in, become incidents and end; silences are Tocsin's."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tocsin.access.tokens import Scope
from tocsin.incidents.dependencies import Dependency
from tocsin.model import IncidentState
from tocsin.runtime.evaluation import RuleBook

from .conftest import NOW, Port, open_port, rules_of

HOUR = timedelta(hours=1)
API = {"labels": {"alertname": "Down", "service": "api", "severity": "P0"}, "annotations": {"summary": "it is down"}}
WEB = {"labels": {"alertname": "Slow", "service": "web", "severity": "P1"}}
LOW = {"labels": {"alertname": "Old", "service": "web", "severity": "P3"}}


async def post(port: Port, *alerts: Any) -> int:
    return (await port.ask("POST", "/api/v2/alerts", Scope.ALERTS_WRITE, json=list(alerts))).status


async def get(port: Port, path: str) -> Any:
    return await port.get(f"/api/v2/{path}", scope=Scope.ALERTS_READ)


def silence(**more: Any) -> dict[str, Any]:
    return {
        "matchers": [{"name": "service", "value": "api", "isRegex": False}], "startsAt": NOW.isoformat(),
        "endsAt": (NOW + HOUR).isoformat(), "createdBy": "ana", "comment": "deploy", **more,
    }  # fmt: skip


async def silenced(port: Port, **more: Any) -> str:
    answer = await port.ask("POST", "/api/v2/silences", Scope.ALERTS_WRITE, json=silence(**more))
    assert answer.status == 200, answer.body
    return str(answer.json()["silenceID"])


async def test_an_alert_opens_an_incident_and_its_end_ends_it(port: Port) -> None:
    """Routed, queued and stored like a rule's."""
    assert await post(port, API, WEB) == 200
    assert [incident.group["service"] for incident in port.pipeline.book.open] == ["api", "web"]
    await post(port, {**API, "endsAt": NOW.isoformat()})
    assert [incident.group["service"] for incident in port.pipeline.book.open] == ["web"]
    waiting = {entry.notifier: entry.count for entry in await port.state.outbox.waiting(NOW)}
    assert waiting["pages"] >= 1


async def test_an_alert_that_is_not_sent_again_ends_by_itself(port: Port) -> None:
    """After the resolve timeout, by the daemon's tick."""
    await post(port, API)
    port.clock.pass_(299)
    await port.pipeline.tick()
    assert len(port.pipeline.book.open) == 1
    port.clock.pass_(1)
    await port.pipeline.tick()
    assert (port.pipeline.book.open, await get(port, "alerts")) == ((), [])


async def test_an_alert_is_shown_as_alertmanager_does(port: Port) -> None:
    """With every member that its clients require."""
    await post(port, {**API, "startsAt": "2026-03-01T12:59:00+01:00", "generatorURL": "http://prom/graph"})
    (found,) = await get(port, "alerts")
    fingerprint = found.pop("fingerprint")
    assert (len(fingerprint), found) == (
        16,
        {
            "annotations": {"summary": "it is down"}, "endsAt": "2026-03-01T12:05:00.000Z",
            "receivers": [{"name": "pages"}], "startsAt": "2026-03-01T11:59:00.000Z",
            "status": {"inhibitedBy": [], "silencedBy": [], "state": "active"},
            "updatedAt": "2026-03-01T12:00:00.000Z", "generatorURL": "http://prom/graph",
            "labels": {"alertname": "Down", "service": "api", "severity": "P0"},
        },
    )  # fmt: skip


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["Down", "Old", "Slow"]), ("filter=service%3D%22web%22", ["Old", "Slow"]),
        ("filter=service%3D%22web%22&filter=severity!%3D%22P3%22", ["Slow"]),
        ("filter=alertname%3D~%22D.*%22", ["Down"]), ("receiver=log", ["Old"]), ("receiver=pag.*", ["Down", "Slow"]),
        ("active=false", ["Down"]), ("silenced=false", ["Old", "Slow"]), ("active=false&silenced=false", []),
    ],
)  # fmt: skip
async def test_alerts_can_be_picked(port: Port, query: str, names: list[str]) -> None:
    """By matchers, receiver, and whether a silence hides them."""
    await post(port, API, WEB, LOW)
    await silenced(port)
    assert sorted(found["labels"]["alertname"] for found in await get(port, f"alerts?{query}")) == names


async def test_what_another_alert_explains_is_inhibited(port: Port) -> None:
    """By dependencies: suppressed, with the parent's fingerprint, and left out where that is asked."""
    plan = replace(
        port.pipeline.book.plan,
        dependencies=(Dependency(match={"alertname": "Slow"}, depends_on={"alertname": "Down"}),),
    )
    port.pipeline.decisions.book = replace(port.pipeline.book, plan=plan)
    await post(port, API, WEB)
    down, slow = sorted(await get(port, "alerts"), key=lambda found: str(found["labels"]["alertname"]))
    assert (down["status"]["state"], slow["status"]) == (
        "active", {"inhibitedBy": [down["fingerprint"]], "silencedBy": [], "state": "suppressed"},
    )  # fmt: skip
    shown = [found["labels"]["alertname"] for found in await get(port, "alerts?inhibited=false")]
    assert (shown, len(await get(port, "alerts?active=false"))) == (["Down"], 1)


async def test_a_rules_alert_started_when_it_fired(tmp_path: Path, empty_state: bytes) -> None:
    """As Prometheus sends it: not when its condition began, five minutes before."""
    (tmp_path / "state.db").write_bytes(empty_state)
    rules = "groups: [{name: g, rules: [{alert: Slow, expr: latency > 1, for: 5m}]}]"
    async with open_port(tmp_path / "state.db", rules_of(tmp_path, rules)) as port:
        port.holds("latency", [2.5])
        await port.pipeline.tick()
        assert await get(port, "alerts") == []
        port.clock.pass_(300)
        port.holds("latency", [2.5])
        await port.pipeline.tick()
        (alert,) = await get(port, "alerts")
        assert alert["startsAt"] == (NOW + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


@pytest.mark.parametrize("path", ["alerts", "alerts/groups"])
async def test_a_receiver_that_is_no_expression_is_refused(port: Port, path: str) -> None:
    """400 and why, with no alert as with some."""
    answer = await port.ask("GET", f"/api/v2/{path}?receiver=%5Ba", Scope.ALERTS_READ)
    assert (answer.status, answer.json().startswith("receiver: not a regular expression")) == (400, True)


async def test_groups_are_the_routes_groups(port: Port) -> None:
    """By receiver and the labels that the route groups by."""
    await post(port, API, WEB, LOW)
    found = [
        (each["receiver"]["name"], each["labels"], [alert["labels"]["alertname"] for alert in each["alerts"]])
        for each in await get(port, "alerts/groups")
    ]
    assert found == [
        ("log", {"alertname": "Old"}, ["Old"]), ("pages", {"service": "api"}, ["Down"]),
        ("pages", {"service": "web"}, ["Slow"]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("alert", "why"),
    [
        ({}, "at least one label pair required"), ({"labels": {"a": 1}}, "labels must be an object of texts"),
        ({"labels": {"a-b": "x"}}, "invalid label name 'a-b'"), ("x", "must be an object"),
        ({**API, "startsAt": "soon"}, "startsAt: not a time"),
        ({**API, "startsAt": "2026-03-01T12:00:00Z", "endsAt": "2026-03-01T11:00:00Z"},
         "start time must be before end time"),
        ({**API, "endsAt": "2026-03-01T12:00:00"}, "endsAt: '2026-03-01T12:00:00' has no time zone"),
        ({**API, "endsAt": "9999-12-31T23:59:59-01:00"}, "endsAt: '9999-12-31T23:59:59-01:00' is past the last time"),
    ],
)  # fmt: skip
async def test_a_broken_alert_is_refused_and_the_others_are_taken(port: Port, alert: Any, why: str) -> None:
    """400 that names which and why; one bad sender must not hide the rest."""
    answer = await port.ask("POST", "/api/v2/alerts", Scope.ALERTS_WRITE, json=[WEB, alert])
    assert (answer.status, f"alert 2: {why}" in answer.json()) == (400, True)
    assert [each["labels"]["alertname"] for each in await get(port, "alerts")] == ["Slow"]


@pytest.mark.parametrize("body", [b"{}", b"[", b"null", b'"x"'])
async def test_a_body_that_is_no_list_is_refused(port: Port, body: bytes) -> None:
    """With a sentence."""
    answer = await port.ask("POST", "/api/v2/alerts", Scope.ALERTS_WRITE, body=body)
    assert (answer.status, isinstance(answer.json(), str)) == (400, True)


async def test_sent_alerts_survive_a_restart(tmp_path: Path, empty_state: bytes) -> None:
    """The same incident goes on: nothing is resolved, nothing is opened anew, and it ends in time."""
    (tmp_path / "state.db").write_bytes(empty_state)
    async with open_port(tmp_path / "state.db") as port:
        await post(port, API)
        (before,) = port.pipeline.book.open
    async with open_port(tmp_path / "state.db", at=NOW + HOUR) as port:
        await port.pipeline.tick()
        await post(port, API)
        (after,) = port.pipeline.book.open
        assert (after.id, after.state) == (before.id, IncidentState.OPEN)
        for _ in range(20):  # a longer step would be a machine that slept
            port.clock.pass_(15)
            await port.pipeline.tick()
        assert port.pipeline.book.open == ()


async def test_a_reload_leaves_sent_alerts_alone(port: Port) -> None:
    """They have no rule that could have been removed."""
    await post(port, API)
    await port.pipeline.reconfigure(lambda alerts: RuleBook((), alerts), [], port.pipeline.book.plan)
    assert [incident.state for incident in port.pipeline.book.open] == [IncidentState.OPEN]


# Silences ------------------------------------------------------------------------------------------------------------


async def test_a_silence_is_made_listed_and_ended(port: Port) -> None:
    """Durable, in Alertmanager's form, and Tocsin's own silences are among them."""
    id = await silenced(port)
    (found,) = await get(port, "silences")
    assert found == await get(port, f"silence/{id}")
    assert found == {
        "id": id, "status": {"state": "active"}, "updatedAt": "2026-03-01T12:00:00.000Z", "comment": "deploy",
        "createdBy": "ana", "startsAt": "2026-03-01T12:00:00.000Z", "endsAt": "2026-03-01T13:00:00.000Z",
        "matchers": [{"isEqual": True, "isRegex": False, "name": "service", "value": "api"}],
    }  # fmt: skip
    assert [each.id for each in await port.state.history.silences(NOW)] == [id]
    assert (await port.ask("DELETE", f"/api/v2/silence/{id}", Scope.ALERTS_WRITE)).status == 200
    assert (await get(port, f"silence/{id}"))["status"] == {"state": "expired"}


async def test_a_silence_that_ended_before_a_restart_is_still_shown(tmp_path: Path, empty_state: bytes) -> None:
    """For five days, as Alertmanager's; ending it again changes nothing."""
    (tmp_path / "state.db").write_bytes(empty_state)
    async with open_port(tmp_path / "state.db") as port:
        id = await silenced(port)
    async with open_port(tmp_path / "state.db", at=NOW + 2 * HOUR) as port:
        assert [each["status"]["state"] for each in await get(port, "silences")] == ["expired"]
        assert (await port.ask("DELETE", f"/api/v2/silence/{id}", Scope.ALERTS_WRITE)).status == 200


async def test_a_silence_can_be_changed(port: Port) -> None:
    """Its end in place; what it matches only by another silence, and the old one ends."""
    id = await silenced(port)
    longer = await silenced(port, id=id, endsAt=(NOW + 2 * HOUR).isoformat())
    other = await silenced(port, id=id, matchers=[{"name": "service", "value": "w.*", "isRegex": True}])
    states = {each["id"]: each["status"]["state"] for each in await get(port, "silences")}
    assert (longer, states) == (id, {id: "expired", other: "active"})


async def test_matchers_of_all_four_kinds(port: Port) -> None:
    """isEqual is true unless it says false."""
    matchers = [
        {"name": "a", "value": "1", "isRegex": regex, "isEqual": equal}
        for regex in (False, True) for equal in (True, False)
    ]  # fmt: skip
    id = await silenced(port, matchers=matchers)
    assert [str(matcher) for matcher in port.pipeline.book.silences[id].matchers] == [
        'a="1"', 'a!="1"', 'a=~"1"', 'a!~"1"',
    ]  # fmt: skip


async def test_silences_can_be_picked_by_what_they_match(port: Port) -> None:
    """A filter looks at the matchers as if they were labels."""
    await silenced(port)
    found = [len(await get(port, f"silences?filter=service%3D%22{name}%22")) for name in ("api", "web")]
    assert found == [1, 0]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"matchers": []}, "at least one"),
        ({"comment": " "}, "reason"),
        ({"createdBy": ""}, "say who"),
        ({"endsAt": NOW.isoformat()}, "in the past"),
        ({"endsAt": None}, "needed"),
        ({"endsAt": (NOW + timedelta(days=31)).isoformat()}, "30 days"),
        ({"matchers": [{"name": "a", "value": "(", "isRegex": True}]}, "regular expression"),
        ({"matchers": [{"name": "a", "value": ".*", "isRegex": True}]}, "hides everything"),
        ({"matchers": [{"value": "x"}]}, "name"),
        ({"matchers": [{"name": "a", "value": "x", "isRegex": 1}]}, "true"),
        ({"startsAt": (NOW + 3 * HOUR).isoformat()}, "end after it starts"),
    ],
)
async def test_a_silence_that_should_not_be_is_refused(port: Port, more: dict[str, Any], why: str) -> None:
    """400 and why."""
    answer = await port.ask("POST", "/api/v2/silences", Scope.ALERTS_WRITE, json=silence(**more))
    assert (answer.status, why in answer.json(), port.pipeline.book.silences) == (400, True, {})


async def test_an_unknown_silence_is_404(port: Port) -> None:
    """To be shown, changed or ended."""
    answers = [
        await port.ask("GET", "/api/v2/silence/nope"), await port.ask("DELETE", "/api/v2/silence/nope"),
        await port.ask("POST", "/api/v2/silences", json=silence(id="nope")),
    ]  # fmt: skip
    assert [answer.status for answer in answers] == [404, 404, 404]


async def test_status_and_receivers(port: Port) -> None:
    """Notifiers are receivers."""
    status = await get(port, "status")
    assert (await get(port, "receivers"), status["cluster"]["status"]) == (
        [{"name": "log"}, {"name": "pages"}], "disabled",
    )  # fmt: skip
    assert status["versionInfo"]["version"].startswith("0.")
