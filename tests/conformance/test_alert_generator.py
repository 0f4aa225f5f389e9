"""The rules of the upstream alert generator's test suite, unchanged: the same alerts as promtool, at the same times."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from tocsin.cli import cli

ORDER, SIMPLE = "NewAlerts_OrderCheck", "PendingAndFiringAndResolved"
INACTIVE, ZERO = "PendingAndResolved_AlwaysInactive", "ZeroFor_SmallFor"
SERIES: Final = {
    (f"{ORDER}_Rule1", ORDER, 'variant="one"'): "0 11x20",
    (f"{ORDER}_Rule1", ORDER, 'variant="two"'): "0 0 11x19",
    (f"{SIMPLE}_SimpleAlert", SIMPLE, ""): "0 11x12 15 0 0 12x20",
    (f"{INACTIVE}_PendingAlert", INACTIVE, ""): "0 11x4 0x20",
    (f"{INACTIVE}_InactiveAlert", INACTIVE, ""): "0 50x20",
    (f"{ZERO}_ZeroFor", ZERO, ""): "0 11 0x20",
    (f"{ZERO}_SmallFor", ZERO, ""): "0 14 14 0x20",
    ("", ZERO, 'for="template", id="1"'): "7x30",
    ("", ZERO, 'for="template", id="2"'): "8x30",
}


def firing(group: str, annotations: dict[str, str], **labels: str) -> dict[str, Any]:
    return {"exp_labels": {"rulegroup": group, **labels}, "exp_annotations": annotations}


def variant(name: str) -> dict[str, Any]:
    return firing(ORDER, {"description": "This should produce more alerts later"}, foo="bar", variant=name)


def simple(value: int) -> dict[str, Any]:
    return firing(
        SIMPLE, {"description": "SimpleAlert is firing", "summary": f"The value is {value} {value}"}, foo="bar"
    )


SECOND: Final = firing(
    ORDER, {"description": f"Based on ALERTS. Old alertname was {ORDER}_Rule1. foo was bar."}, foo="baz",
    ba_dum="tss", alertstate="firing",
)  # fmt: skip
WITHOUT_FOR: Final = firing(
    ZERO, {
        "description": "This should immediately fire",
        "template_query_test": "Args are: foo bar 99. first_id:1,1:7,2:8,",
        "template_test": "1.049M 1Mi 2m 15s 95.9% 2022-01-25 12:36:43 +0000 UTC",
    }, foo="bar",
)  # fmt: skip
SMALL_FOR: Final = firing(
    ZERO, {
        "description": "This should fire after an interval",
        "template_test": "This Part IS TESTING the strings. ::1 127.0.0.1. 7815. replaced text. .",
    }, ba_dum="tss",
)  # fmt: skip

TIMES: Final[list[tuple[str, str, list[dict[str, Any]]]]] = [
    # Without `for` it fires at once, and ends at once. One below the interval fires at the next evaluation.
    ("0s", f"{ZERO}_ZeroFor", []), ("30s", f"{ZERO}_ZeroFor", [WITHOUT_FOR]), ("1m", f"{ZERO}_ZeroFor", []),
    ("30s", f"{ZERO}_SmallFor", []), ("1m", f"{ZERO}_SmallFor", [SMALL_FOR]), ("1m30s", f"{ZERO}_SmallFor", []),
    # Each series is an alert of its own; a later rule sees in the same evaluation what an earlier one made fire.
    ("3m", f"{ORDER}_Rule1", []), ("3m30s", f"{ORDER}_Rule1", [variant("one")]), ("3m30s", f"{ORDER}_Rule2", []),
    ("4m", f"{ORDER}_Rule1", [variant("one"), variant("two")]), ("4m", f"{ORDER}_Rule2", [SECOND]),
    # Pending until it is `for` old; annotations of the last evaluation; what returns is new.
    ("6m", f"{SIMPLE}_SimpleAlert", []), ("6m30s", f"{SIMPLE}_SimpleAlert", [simple(11)]),
    ("7m", f"{SIMPLE}_SimpleAlert", [simple(15)]), ("7m30s", f"{SIMPLE}_SimpleAlert", []),
    ("14m", f"{SIMPLE}_SimpleAlert", []), ("14m30s", f"{SIMPLE}_SimpleAlert", [simple(12)]),
    # Pending that goes away, and what never is, fire never.
    *((at, f"{INACTIVE}_PendingAlert", []) for at in ("2m30s", "3m", "3m30s", "10m")),
    ("5m", f"{INACTIVE}_InactiveAlert", []),
]  # fmt: skip


def unit_test(corpus: Path) -> str:
    """JSON is YAML."""
    series = [
        {
            "series": "alert_generator_test_suite{"
            + ", ".join(part for part in (f'alertname="{name}"' if name else "", f'rulegroup="{group}"', more) if part)
            + "}",
            "values": values,
        }
        for (name, group, more), values in SERIES.items()
    ]
    checks = [{"eval_time": at, "alertname": name, "exp_alerts": alerts} for at, name, alerts in TIMES]
    return json.dumps({
        "rule_files": [str(corpus / "alert_generator" / "rules.yaml")], "evaluation_interval": "30s",
        "tests": [{"interval": "30s", "input_series": series, "alert_rule_test": checks}],
    })  # fmt: skip


def test_the_suites_rules_make_the_alerts_that_are_specified(corpus: Path, tmp_path: Path) -> None:
    """Order within a group, pending, firing, ended, returned; labels, annotations and every template function of it."""
    file = tmp_path / "test.yaml"
    file.write_text(unit_test(corpus))
    ran = CliRunner().invoke(cli, ["rules", "test", str(file)])
    assert ran.exit_code == 0, ran.output


@pytest.mark.peer
def test_promtool_says_the_same_of_them(real_peer: Callable[[str], Path], corpus: Path, tmp_path: Path) -> None:
    """So what is expected here is Prometheus', not ours."""
    file = tmp_path / "test.yaml"
    file.write_text(unit_test(corpus))
    ran = subprocess.run([real_peer("promtool"), "test", "rules", file], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout
