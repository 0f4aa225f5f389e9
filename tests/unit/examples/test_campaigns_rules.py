"""The demo's rules are Prometheus rules, and each says what to do."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tocsin.testing.demo.settings import SLOW


@pytest.fixture(scope="module")
def rules(root: Path) -> Path:
    return root / "examples" / "campaigns" / "rules"


def alerts(rules: Path) -> list[dict[str, Any]]:
    files = [yaml.safe_load(path.read_text()) for path in rules.glob("*.yaml")]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def test_promtool_passes_their_tests(rules: Path, real_peer: Callable[[str], Path]) -> None:
    """The same files serve Prometheus."""
    tests = sorted(str(path) for path in (rules / "tests").glob("*.yaml"))
    run = subprocess.run([str(real_peer("promtool")), "test", "rules", *tests], capture_output=True, text=True)
    assert (run.returncode, "FAILED" in run.stderr + run.stdout) == (0, False), run.stderr + run.stdout


def test_every_alert_pages_and_says_what_to_do(rules: Path) -> None:
    """The demo is to show messages, so none of its alerts waits for a digest."""
    for alert in alerts(rules):
        assert alert["labels"]["severity"] in {"P0", "P1"}
        assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}


def test_every_alert_has_a_test_of_firing_and_of_silence(rules: Path) -> None:
    """A rule that always fires, or never, would pass otherwise."""
    cases = [
        case
        for path in (rules / "tests").glob("*.yaml")
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test["alert_rule_test"]
    ]
    for alert in alerts(rules):
        kinds = {bool(case["exp_alerts"]) for case in cases if case["alertname"] == alert["alert"]}
        assert kinds == {True, False}, alert["alert"]


def test_the_limit_that_is_told_is_the_one_that_is_set(rules: Path) -> None:
    """The rule's text names the demo's own `max_seconds`."""
    (slow,) = [alert for alert in alerts(rules) if alert["alert"] == "CampaignsEndpointSlow"]
    assert f"(limit {SLOW:g} s)" in slow["annotations"]["summary"]
    assert f"after {SLOW:g} s" in slow["annotations"]["description"]
