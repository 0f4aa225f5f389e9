"""Silences on Tocsin's own API: what one would hide, and what each hid."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tocsin.access.tokens import Scope

from .conftest import Port

BASE = "/api/tocsin/v1/silences"


async def fires(port: Port, service: str, *, until: float = 3600) -> None:
    end = port.clock.now() + timedelta(seconds=until)
    alert = {"labels": {"alertname": "Down", "service": service, "severity": "P0"}, "endsAt": end.isoformat()}
    await port.ask("POST", "/api/v2/alerts", Scope.ALERTS_WRITE, json=[alert])


async def silenced(port: Port, service: str) -> str:
    """A silence of an hour → its id."""
    body = {
        "matchers": [{"name": "service", "value": service, "isRegex": False, "isEqual": True}],
        "startsAt": port.clock.now().isoformat(), "endsAt": (port.clock.now() + timedelta(hours=1)).isoformat(),
        "createdBy": "ana", "comment": "deploy",
    }  # fmt: skip
    return str((await port.ask("POST", "/api/v2/silences", Scope.ALERTS_WRITE, json=body)).json()["silenceID"])


async def previewed(port: Port, body: Any) -> tuple[int, Any]:
    answer = await port.ask("POST", f"{BASE}/preview", Scope.ALERTS_READ, json=body)
    return answer.status, answer.json()


async def test_a_preview_names_what_fires_and_what_did(port: Port) -> None:
    """Of the last 30 days; nothing is made by asking."""
    for service, later in (("old", 31 * 86_400), ("gone", 120)):
        await fires(port, service)
        port.clock.jump(60)
        await fires(port, service, until=0)  # it has ended
        port.clock.jump(later)
    await fires(port, "api")
    status, body = await previewed(port, {"matchers": ["alertname=Down", "service=~.+"]})
    assert (status, body["text"]) == (200, "hides 1 now, 1 in the last 30 days, including 2 P0")
    assert [[each["labels"]["service"] for each in body[when]] for when in ("now", "past")] == [["api"], ["gone"]]
    assert (await port.get(BASE, scope=Scope.ALERTS_READ))["silences"] == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "matchers is a list of texts"),
        ({"matchers": []}, "a silence needs at least one matcher"),
        ({"matchers": ["service=~("]}, "not a regular expression"),
        ({"matchers": ["service=~.*"]}, "or it hides everything"),
    ],
)
async def test_a_preview_of_nothing_is_refused(port: Port, body: Any, says: str) -> None:
    """With what it must have."""
    status, answer = await previewed(port, body)
    assert (status, says in answer["detail"]) == (400, True)


async def test_what_a_silence_hid_is_counted_and_named(port: Port) -> None:
    """While it holds, and with the time that it was told once it has ended."""
    id = await silenced(port, "api")
    await fires(port, "api")
    (listed,) = (await port.get(BASE, scope=Scope.ALERTS_READ))["silences"]
    assert (listed["id"], listed["hid"], listed["holds"], listed["told_at"]) == (id, 1, True, None)
    await port.ask("DELETE", f"/api/v2/silence/{id}", Scope.ALERTS_WRITE)
    shown = await port.get(f"{BASE}/{id}", scope=Scope.ALERTS_READ)
    (hidden,) = shown["hidden"]
    assert (hidden["severity"], hidden["state"], hidden["told_at"]) == ("P0", "open", shown["told_at"])
    assert shown["told_at"] is not None
    assert (await port.get(BASE, scope=Scope.ALERTS_READ))["silences"] == []
    (ended,) = (await port.get(f"{BASE}?state=all", scope=Scope.ALERTS_READ))["silences"]
    assert (ended["holds"], ended["hid"]) == (False, 1)


async def test_one_that_is_not_there_is_not_found(port: Port) -> None:
    """And a state that there is not is named."""
    assert (await port.ask("GET", f"{BASE}/s-x", Scope.ALERTS_READ)).status == 404
    assert (await port.ask("GET", f"{BASE}?state=x", Scope.ALERTS_READ)).status == 400
