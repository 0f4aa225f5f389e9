"""The rules in force and their alerts, as Grafana's alert list reads them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tocsin.access.tokens import Scope

from .conftest import NOW, Port, open_port, rules_of

RULES = """
groups:
  - name: api
    interval: 30s
    rules:
      - {record: "job:up:sum", expr: "sum by (job) (up)", labels: {tier: web}}
      - alert: Down
        expr: up == 0
        labels: {severity: P0}
        annotations: {summary: "{{ $labels.job }} is down"}
      - {alert: Slow, expr: latency > 1, for: 5m, keep_firing_for: 1m}
  - name: broken
    rules:
      - {alert: Twice, expr: "up + on () up"}
"""


@pytest.fixture
async def ruled(tmp_path: Path, empty_state: bytes) -> AsyncIterator[Port]:
    """Rules that have run once: one fires, one is pending, one failed."""
    (tmp_path / "state.db").write_bytes(empty_state)
    async with open_port(tmp_path / "state.db", rules_of(tmp_path, RULES)) as port:
        port.holds("up", [0], job="a")
        port.holds("up", [1], job="b")
        port.holds("latency", [2.5], job="a")
        await port.pipeline.tick()
        yield port


async def groups(port: Port, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await port.get(f"/api/v1/rules?{query}"))["data"]["groups"]
    return found


async def test_a_group_lists_its_rules_with_state_and_health(ruled: Port, tmp_path: Path) -> None:
    """In the order of the file, with Prometheus' members."""
    first, second = await groups(ruled)
    assert (first["name"], first["file"], first["interval"], first["limit"]) == (
        "api", str(tmp_path / "rules.yaml"), 30, 0,
    )  # fmt: skip
    assert [(rule["name"], rule["type"], rule.get("state"), rule["health"]) for rule in first["rules"]] == [
        ("job:up:sum", "recording", None, "ok"), ("Down", "alerting", "firing", "ok"),
        ("Slow", "alerting", "pending", "ok"),
    ]  # fmt: skip
    assert first["rules"][2] | {"alerts": []} == {
        "state": "pending", "name": "Slow", "query": "latency > 1", "duration": 300, "keepFiringFor": 60,
        "labels": {}, "annotations": {}, "alerts": [], "health": "ok", "evaluationTime": 0,
        "lastEvaluation": "2026-03-01T12:00:00Z", "type": "alerting",
    }  # fmt: skip
    assert (second["rules"][0]["health"], "duplicate series" in second["rules"][0]["lastError"]) == ("err", True)


async def test_alerts_are_told_as_prometheus_does(ruled: Port) -> None:
    """Labels, rendered annotations, state, since when, and the value with an exponent."""
    found = (await ruled.get("/api/v1/alerts", scope=Scope.ALERTS_READ))["data"]["alerts"]
    assert found == [
        {
            "labels": {"alertname": "Down", "job": "a", "severity": "P0"}, "annotations": {"summary": "a is down"},
            "state": "firing", "activeAt": "2026-03-01T12:00:00Z", "value": "0e+00",
        },
        {
            "labels": {"alertname": "Slow", "job": "a"}, "annotations": {}, "state": "pending",
            "activeAt": "2026-03-01T12:00:00Z", "value": "2.5e+00",
        },
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("type=record", ["job:up:sum"]), ("type=alert", ["Down", "Slow", "Twice"]),
        ("rule_name[]=Slow&rule_name[]=Twice", ["Slow", "Twice"]), ("rule_group[]=broken", ["Twice"]),
        ("file[]=other.yaml", []), ('match[]={severity="P0"}', ["Down"]),
    ],
)  # fmt: skip
async def test_rules_can_be_picked(ruled: Port, query: str, names: list[str]) -> None:
    """By type, name, group, file and labels; a group with none of them left out."""
    assert [rule["name"] for group in await groups(ruled, query) for rule in group["rules"]] == names


async def test_alerts_can_be_left_out(ruled: Port) -> None:
    """For listings of thousands."""
    found = await groups(ruled, "exclude_alerts=true&type=alert")
    assert [rule["alerts"] for group in found for rule in group["rules"]] == [[], [], []]


async def test_a_rule_that_never_ran_is_unknown(tmp_path: Path, empty_state: bytes) -> None:
    """Neither ok nor failed, and never evaluated: year 1, as Go's zero time."""
    (tmp_path / "state.db").write_bytes(empty_state)
    async with open_port(tmp_path / "state.db", rules_of(tmp_path, RULES)) as port:
        rule = (await groups(port))[0]["rules"][1]
        assert (rule["health"], rule["lastError"], rule["state"], rule["lastEvaluation"]) == (
            "unknown",
            "not evaluated yet",
            "inactive",
            "0001-01-01T00:00:00Z",
        )
        assert port.clock.now() == NOW
