"""The rules that must not depend on the server that they may have to call dead."""

from __future__ import annotations

from pathlib import Path

from tocsin.rules import load_rules
from tocsin.telemetry.metrics import Telemetry


def test_the_shipped_rules_about_tocsin_read_nothing_but_its_own_metrics(root: Path) -> None:
    """So they are evaluated here even where `series.engine` evaluates the rest (Pipeline.is_own)."""
    own = {name for metric in Telemetry().declarations() for name in metric.series_names()}
    groups = load_rules([root / "alert_rules" / "tocsin.yaml"])
    assert [group.name for group in groups if group.reads is None or not group.reads <= own] == []
