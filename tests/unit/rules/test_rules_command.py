"""`tocsin rules`: its listings, its exit codes, what it prints."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tocsin.cli.rules import rules

CONFIG = """rules: [rules.yaml]
routes: [{match: {}, notify: [log]}]
notifiers: [{kind: console, name: log}]
"""
RULES = """groups:
  - name: web
    rules:
      - alert: Down
        expr: up == 0
        for: 5m
        labels: {severity: P0}
        annotations: {summary: "{{ $labels.instance }} is down"}
      - record: job:up:sum
        expr: sum by (job) (up)
"""
GOOD = """rule_files: [rules.yaml]
tests:
  - name: down
    interval: 1m
    input_series:
      - {series: 'up{instance="a"}', values: 0x10}
    alert_rule_test:
      - eval_time: 5m
        alertname: Down
        exp_alerts:
          - exp_labels: {severity: P0, instance: a}
            exp_annotations: {summary: a is down}
"""
BAD = GOOD.replace("a is down", "b is down")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a configuration, a rule file and unit tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOCSIN_CONFIG", raising=False)
    for name, text in {
        "config.yaml": CONFIG,
        "rules.yaml": RULES,
        "good.yaml": GOOD,
        "bad.yaml": BAD,
        "histogram.yaml": GOOD.replace("0x10", '"{{sum:1 count:1}}x10"'),
        "unusable.yaml": GOOD.replace("alertname", "alertnme"),
    }.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Callable[..., Result]:
    """Runs `tocsin rules` with these arguments."""
    return lambda *args: CliRunner().invoke(rules, args)


def test_list_shows_every_rule(run: Callable[..., Result]) -> None:
    """Name, severity, `for`, group, expression, place."""
    lines = run("list").output.splitlines()
    assert lines[1].split()[:7] == ["Down", "P0", "5m", "web", "up", "==", "0"]
    assert lines[-1] == "2 rules in 1 groups"


def test_list_of_named_files_needs_no_configuration(run: Callable[..., Result], folder: Path) -> None:
    """FILEs instead of config.yaml, and JSON for programs."""
    (folder / "config.yaml").unlink()
    alert, record = json.loads(run("list", "rules.yaml", "--json").output)
    assert tuple(alert[key] for key in ("type", "name", "for", "reads", "line")) == (
        "alerting",
        "Down",
        300.0,
        ["up"],
        4,
    )
    assert (record["type"], record["name"]) == ("recording", "job:up:sum")


def test_tests_that_pass_exit_with_0(run: Callable[..., Result]) -> None:
    """And say how many there were."""
    result = run("test", "good.yaml")
    assert (result.exit_code, result.output) == (0, "ok good.yaml: 1 tests, 1 passed\n")


def test_a_test_that_fails_exits_with_1_and_shows_the_difference(run: Callable[..., Result]) -> None:
    """File and line of the case, expected and got."""
    result = run("test", "good.yaml", "bad.yaml")
    assert result.exit_code == 1
    assert "bad.yaml:8: failed: down: alert Down at 5m\n" in result.output
    assert '  - {alertname="Down", instance="a", severity="P0"}\n      summary: \'b is down\'\n' in result.output
    assert '  + {alertname="Down", instance="a", severity="P0"}\n      summary: \'a is down\'\n' in result.output


def test_a_file_that_cant_be_used_exits_with_2_and_the_others_are_run(run: Callable[..., Result]) -> None:
    """The finding names file, line, key and the key that was meant."""
    result = run("test", "unusable.yaml", "absent.yaml", "good.yaml")
    assert result.exit_code == 2
    assert (
        "unusable.yaml:9: unknown key 'alertnme' in an item of alert_rule_test; did you mean 'alertname'?"
        in result.output
    )
    assert "absent.yaml: can't be read: No such file or directory" in result.output
    assert "ok good.yaml" in result.output


def test_an_alert_whose_input_is_a_histogram_fails(run: Callable[..., Result]) -> None:
    """It has no number; the rule itself is told."""
    result = run("test", "histogram.yaml")
    assert (result.exit_code, "FAILED histogram.yaml" in result.output) == (1, True)


def test_run_chooses_tests_by_name(run: Callable[..., Result]) -> None:
    """A regular expression, as promtool's."""
    assert ((result := run("test", "bad.yaml", "--run", "other")).exit_code, "0 tests" in result.output) == (0, True)
    assert run("test", "bad.yaml", "--run", "(").exit_code == 2


def test_verdicts_as_json(run: Callable[..., Result]) -> None:
    """One object: whether all is well, each case, each finding."""
    told = json.loads(run("test", "bad.yaml", "unusable.yaml", "--json").output)
    assert (
        told["ok"],
        [file["ok"] for file in told["files"]],
        [case["verdict"] for case in told["files"][0]["cases"]],
        [finding["line"] for finding in told["findings"]][:1],
    ) == (False, [False], ["failed"], [9])


def test_export_copies_the_files_as_they_are(run: Callable[..., Result], folder: Path) -> None:
    """Byte for byte, into a folder that is made if need be."""
    assert run("export", "out/rules").exit_code == 0
    assert (folder / "out/rules/rules.yaml").read_text() == RULES


def test_export_does_not_overwrite_what_is_not_its_own(run: Callable[..., Result], folder: Path) -> None:
    """Unless it is told to; the same content is no obstacle."""
    run("export", "out")
    assert run("export", "out").exit_code == 0
    (folder / "out/rules.yaml").write_text("groups: []\n")
    refused = run("export", "out")
    assert "is there already, with other content" in str(refused.exception)
    assert (folder / "out/rules.yaml").read_text() == "groups: []\n"
    assert run("export", "out", "--force").exit_code == 0
    assert (folder / "out/rules.yaml").read_text() == RULES


def test_export_tells_files_of_one_name_apart(run: Callable[..., Result], folder: Path) -> None:
    """By their folder."""
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "rules.yaml").write_text(RULES)
    (folder / "config.yaml").write_text((folder / "config.yaml").read_text().replace("rules.yaml", "'[ab]/rules.yaml'"))
    run("export", "out")
    assert sorted(path.name for path in (folder / "out").glob("*.yaml")) == ["a-rules.yaml", "b-rules.yaml"]


@pytest.mark.peer
def test_promtool_accepts_the_export(
    run: Callable[..., Result], folder: Path, real_peer: Callable[[str], Path]
) -> None:
    """The point of it."""
    run("export", "out")
    command = [real_peer("promtool"), "check", "rules", *sorted((folder / "out").glob("*.yaml"))]
    assert subprocess.run(command, capture_output=True).returncode == 0
