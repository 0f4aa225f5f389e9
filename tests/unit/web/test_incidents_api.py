"""Tocsin's own API: incidents are listed, read, taken and closed."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest

from tocsin.access.tokens import Scope
from tocsin.model import IncidentState

from .conftest import Port

BASE = "/api/tocsin/v1/incidents"


async def opened(port: Port, service: str = "api") -> str:
    """An incident → its id."""
    alert = {"labels": {"alertname": "Down", "service": service, "severity": "P0"}}
    await port.ask("POST", "/api/v2/alerts", Scope.ALERTS_WRITE, json=[alert])
    return next(each.id for each in port.pipeline.book.open if each.group["service"] == service)


async def do(port: Port, id: str, what: str, body: Any = None) -> tuple[int, Any]:
    answer = await port.ask("POST", f"{BASE}/{id}/{what}", Scope.INCIDENTS_WRITE, json=body)
    return answer.status, answer.json()


async def test_an_incident_is_taken_by_whom_the_body_says(port: Port) -> None:
    """Durable, and told once: taking it again changes nothing."""
    id = await opened(port)
    first, again = await do(port, id, "ack", {"by": "ana"}), await do(port, id, "ack", {"by": "ben"})
    assert (first[0], first[1]["said"], again[1]["said"]) == (
        200, f"{id} acknowledged by ana", f"{id} was acknowledged by ana already",
    )  # fmt: skip
    assert (again[1]["incident"]["state"], again[1]["incident"]["acked_by"]) == ("acked", "ana")


async def test_without_a_name_the_tokens_note_says_who(port: Port) -> None:
    """A button in somebody's tool has a token of its own."""
    id = await opened(port)
    assert (await do(port, id, "ack"))[1]["incident"]["acked_by"] == "tests"


async def test_an_incident_is_closed_with_a_reason(port: Port) -> None:
    """Whatever its alerts do."""
    id = await opened(port)
    _, body = await do(port, id, "resolve", {"by": "ana", "why": "rolled back"})
    assert (body["incident"]["state"], body["incident"]["resolved_why"]) == ("resolved", "ana closed it: rolled back")
    assert port.pipeline.book.files[id].incident.state is IncidentState.RESOLVED


async def test_open_ones_are_listed_and_all_on_request(port: Port) -> None:
    """With their alerts."""
    ended, going = await opened(port, "api"), await opened(port, "web")
    await do(port, ended, "resolve")
    some = await port.get(f"{BASE}?state=open", scope=Scope.ALERTS_READ)
    every = await port.get(f"{BASE}?state=all", scope=Scope.ALERTS_READ)
    assert [each["id"] for each in some["incidents"]] == [going]
    assert {each["id"] for each in every["incidents"]} == {ended, going}


async def test_the_story_says_what_was_decided_and_why(port: Port) -> None:
    """And what has not been delivered yet."""
    id = await opened(port)
    story = await port.get(f"{BASE}/{id}", scope=Scope.ALERTS_READ)
    assert [(each["notifier"], each["action"], each["reason"]) for each in story["decisions"]] == [
        ("pages", "post", "new_incident")
    ]
    assert [each["state"] for each in story["undelivered"]] == ["queued"]
    assert (story["alerts"][0]["labels"]["service"], story["opened_at"]) == ("api", "2026-03-01T12:00:00Z")


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "why"),
    [
        ("GET", "/i-nope", None, 404, "there is no incident i-nope"),
        ("POST", "/i-nope/ack", {}, 404, "there is no incident i-nope"),
        ("GET", "?state=closed", None, 400, "state is open or all"),
        ("GET", "?limit=0", None, 400, "limit is a number"),
        ("GET", "?limit=²", None, 400, "limit is a number"),
        ("POST", "/{id}/ack", {"by": 7}, 400, "by and why are texts"),
        ("POST", "/{id}/ack", {"who": "ana"}, 400, "'who' is not known"),
        ("POST", "/{id}/ack", ["ana"], 400, "must be a JSON object"),
        ("DELETE", "/{id}", None, 405, "DELETE is not for"),
    ],
)
async def test_what_cannot_be_done_is_a_problem_that_says_why(
    port: Port, method: str, target: str, body: Any, status: int, why: str
) -> None:
    """RFC 9457."""
    id = await opened(port)
    answer = await port.ask(method, BASE + target.replace("{id}", id), json=body)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert why in answer.json()["detail"]


async def test_a_body_that_is_too_large_is_refused(port: Port) -> None:
    """413, before it is all read."""
    id = await opened(port)
    answer = await port.ask("POST", f"{BASE}/{id}/ack", body=b" " * (1 << 20) + b"{}")
    assert answer.status == 413


async def test_every_decision_is_stored_with_its_reason_and_counted(port: Port) -> None:
    """What `tocsin incidents show` lists is what /metrics counts."""
    ids = [await opened(port, service) for service in ("api", "web")]
    await do(port, ids[0], "resolve", {"by": "ana"})
    stored: Counter[tuple[str, str]] = Counter()
    for id in ids:
        story = await port.get(f"{BASE}/{id}", scope=Scope.ALERTS_READ)
        assert all(each["because"] for each in story["decisions"])
        stored.update((each["action"], each["reason"]) for each in story["decisions"])
    text = (await port.ask("GET", "/metrics", Scope.METRICS_READ)).content.decode()
    lines = re.findall(r'^tocsin_decisions_total\{action="(\w+)",reason="(\w+)"\} (\S+)', text, re.MULTILINE)
    assert {(action, reason): float(count) for action, reason, count in lines} == stored
    assert stored["post", "new_incident"] == 2
