"""`tocsin rules`: what is alerted on, whether its tests pass, and the same for a Prometheus."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tocsin.cli import FINDING, UNUSABLE
from tocsin.cli.backtest import backtest
from tocsin.cli.noise import noise
from tocsin.cli.options import config_option, json_option, load
from tocsin.cli.output import print_json, print_table

if TYPE_CHECKING:
    from tocsin.errors import Finding
    from tocsin.rules import Group, Rule
    from tocsin.rules.unit_tests import FileOutcome

CENTURIES: Final = 1e12
"""Seconds that a unit test's store keeps its samples: a test may run for longer than anybody lives."""


@click.group(short_help="Alert rules: list, test, backtest, export, noise.")
def rules() -> None:
    """Alert and recording rules: what there is, whether their unit tests pass, what they would have told, their export.

    Rule files are Prometheus rule files; tests are promtool's unit tests, so the same files work with both.
    """


rules.add_command(backtest)
rules.add_command(noise)


def _files(config: Path) -> tuple[Path, ...]:
    from tocsin.config.content import rule_files

    return rule_files(load(config))


# list ---------------------------------------------------------------------------------------------------------------


@rules.command("list", short_help="Every rule, with what it reads.")
@config_option
@json_option
@click.argument("file", nargs=-1, type=click.Path(path_type=Path))
def list_(config: Path, as_json: bool, file: tuple[Path, ...]) -> None:
    """List the rules of the configuration, or of FILEs.

    \b
    Examples:
      tocsin rules list
      tocsin rules list alert_rules/postgres.yaml --json
    """
    from tocsin.rules import load_rules

    groups = load_rules(file or _files(config))
    if as_json:
        print_json([_described(group, rule) for group in groups for rule in group.rules])
        return
    rows = [_row(group, rule) for group in groups for rule in group.rules]
    print_table(
        ("rule", "severity", "for", "group", "expression", "at"), rows, empty="There is no rule in these files."
    )
    if rows:
        click.echo(f"\n{len(rows)} rules in {len(groups)} groups")


def _label(rule: Rule, name: str) -> str:
    for label in rule.labels:
        key, text = label if isinstance(label, tuple) else (label.name, label.text)
        if key == name:
            return text
    return ""


def _row(group: Group, rule: Rule) -> tuple[str, ...]:
    from tocsin.durations import format_duration
    from tocsin.rules import AlertRule

    alert = isinstance(rule, AlertRule)
    held = format_duration(rule.hold) if isinstance(rule, AlertRule) and rule.hold else ""
    kind = _label(rule, "severity") if alert else "(recording)"
    return rule.name, kind, held, group.name, rule.plan.text, f"{rule.file}:{rule.line}"


def _described(group: Group, rule: Rule) -> dict[str, Any]:
    from tocsin.rules import AlertRule

    common: dict[str, Any] = {
        "id": rule.id,
        "group": group.name,
        "name": rule.name,
        "expr": rule.plan.text,
        "reads": None if rule.plan.reads is None else sorted(rule.plan.reads),
        "file": rule.file,
        "line": rule.line,
    }
    if not isinstance(rule, AlertRule):
        return {**common, "type": "recording", "labels": dict(rule.labels)}
    return {
        **common,
        "type": "alerting",
        "for": rule.hold,
        "keep_firing_for": rule.keep_firing,
        "labels": {label.name: label.text for label in rule.labels},
        "annotations": {label.name: label.text for label in rule.annotations},
    }


# test ---------------------------------------------------------------------------------------------------------------


@rules.command("test", short_help="Run unit tests in promtool's format.")
@json_option
@click.option("--run", "pattern", metavar="REGEX", default="", help="Only the tests whose name matches.")
@click.argument("file", nargs=-1, required=True, type=click.Path(path_type=Path))
def test(as_json: bool, pattern: str, file: tuple[Path, ...]) -> None:
    """Run the unit tests in FILEs: the format of `promtool test rules`.

    Exits 0 when every case passed, 1 when one failed, 2 when a file can't be used. Each failure shows expected (-)
    and got (+) with the file and line of the case.

    \b
    Examples:
      tocsin rules test alert_rules/tests/*.yaml
      tocsin rules test alert_rules/tests/postgres.yaml --run 'slow'
    """
    import re

    from tocsin.errors import RuleError

    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise click.BadParameter(f"{error} in {pattern!r}", param_hint="--run") from error
    outcomes: list[FileOutcome] = []
    findings: list[Finding] = []
    for path in file:
        try:
            outcome = _tested(path, lambda name: bool(wanted.search(name)))
        except RuleError as error:
            findings += error.findings
            if not as_json:
                _tell_unusable(path, error.findings)
            continue
        outcomes.append(outcome)
        if not as_json:
            _tell(outcome)
    if as_json:
        print_json(_verdicts(outcomes, findings))
    sys.exit(UNUSABLE if findings else 0 if all(outcome.passed for outcome in outcomes) else FINDING)


def _tested(path: Path, chosen: Callable[[str], bool]) -> FileOutcome:
    from tocsin.rules import load_rules
    from tocsin.rules.unit_tests import read_unit_tests, run_unit_tests
    from tocsin.series import Store

    tests = read_unit_tests(path)
    groups = load_rules(tests.rule_files)
    for pattern in tests.missing:
        click.echo(f"warning: {path}: rule_files: no file matches {pattern!r}", err=True)
    try:
        return run_unit_tests(
            tests, groups, lambda: Store(retention=CENTURIES), chosen=chosen, progress=_progress(path)
        )
    finally:
        _clear()


def _progress(path: Path) -> Callable[[float], None]:
    """Shows the share that is done, on a terminal only."""
    if not sys.stderr.isatty():
        return lambda share: None
    return lambda share: click.echo(f"\r{path}: {share:4.0%} ", nl=False, err=True)


def _clear() -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", nl=False, err=True)


def _tell_unusable(path: Path, findings: tuple[Finding, ...]) -> None:
    for finding in findings:
        click.echo(str(finding))
    click.echo(f"{click.style('UNUSABLE', fg='red')} {path}")


def _tell(outcome: FileOutcome) -> None:
    from tocsin.rules.unit_tests import Verdict

    for case in outcome.cases:
        if case.verdict is not Verdict.PASSED:
            click.echo(f"{case.file}:{case.line}: {case.verdict.value}: {case.test}: {case.what}")
            if case.detail:
                click.echo(case.detail)
    counts = [f"{len(outcome.of(verdict))} {verdict.value}" for verdict in Verdict if outcome.of(verdict)]

    word = click.style("ok", fg="green") if outcome.passed else click.style("FAILED", fg="red")
    click.echo(f"{word} {outcome.file}: {outcome.tests} tests, {', '.join(counts) or 'no case'}")


def _verdicts(outcomes: list[FileOutcome], findings: list[Finding]) -> dict[str, Any]:
    return {
        "ok": not findings and all(outcome.passed for outcome in outcomes),
        "files": [
            {
                "file": outcome.file,
                "ok": outcome.passed,
                "tests": outcome.tests,
                "cases": [asdict(case) for case in outcome.cases],
            }
            for outcome in outcomes
        ],
        "findings": [asdict(finding) for finding in findings],
    }


# export -------------------------------------------------------------------------------------------------------------


@rules.command("export", short_help="Rules for a Prometheus, routes for an Alertmanager.")
@config_option
@click.option("--force", is_flag=True, help="Replace files of the same name that have other content.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def export(config: Path, force: bool, folder: Path) -> None:
    """Write the rule files and an alertmanager.yml to FOLDER, for a Prometheus, Mimir or vmalert and its Alertmanager.

    Rules are copied as they are written, comments included. Routes become a route tree and notifiers receivers; what
    Alertmanager can't do (digests, escalation, fail-over) is said in comments, and secrets are files that you put in
    place. `promtool check rules` and `amtool check-config` accept them. All are written, or none.

    \b
    Examples:
      tocsin rules export /etc/prometheus/rules
    """
    from tocsin.cli.alertmanager import NAME, alertmanager_config
    from tocsin.rules.export import export_rules

    settings = load(config)
    beside = {NAME: alertmanager_config(settings)} if settings.notifiers else {}
    written = export_rules(_files(config), folder, overwrite=force, beside=beside)
    for source, target in written.items():
        click.echo(f"{target} (from {source})")
    for name in beside:
        click.echo(f"{folder / name} (from {config}; what Alertmanager can't do is said in it)")
    click.echo(f"\n{len(written)} rule files; in prometheus.yml: rule_files: [{folder.resolve()}/*.yaml]")
    if any("$externalURL" in target.read_text(encoding="utf-8") for target in written.values()):
        click.echo(
            "Links in them begin with $externalURL: start that Prometheus with --web.external-url of the console."
        )
