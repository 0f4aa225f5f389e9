"""`tocsin check`: is everything in order, before it is needed?"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tocsin.cli import UNUSABLE
from tocsin.cli.options import config_option, json_option, load
from tocsin.cli.output import print_json, print_table

if TYPE_CHECKING:
    from tocsin.cli.inspection import Remark, Subject
    from tocsin.errors import Finding

EXAMPLE = Path(__file__).parent.parent / "config" / "example.yaml"


@click.command(short_help="Validate configuration, rules, routes, templates, dashboards, runbooks.")
@config_option
@json_option
@click.option("--example", is_flag=True, help="Print a commented configuration with every key, and check nothing.")
@click.option("--route", metavar="LABELS", help="Say who is told about an alert with these labels, and why.")
def check(config: Path, as_json: bool, example: bool, route: str | None) -> None:
    """Validate configuration, rules, routes, templates, dashboards and runbooks.

    Prints FILE:LINE: what is wrong; how to mend it. Exits 2 when there is any such finding; warnings don't count. A
    secret that is not set is a warning here (CI has none), and stops the daemon.

    \b
    Examples:
      tocsin check
      tocsin check --config /etc/tocsin/config.yaml --json
      tocsin check --route severity=P0,service=checkout
      tocsin check --example > config.yaml
    """
    if example:
        click.echo(EXAMPLE.read_text(encoding="utf-8"), nl=False)
    elif route is not None:
        _explain_route(config, route, as_json)
    else:
        _check(config, as_json)


def _check(path: Path, as_json: bool) -> None:
    from tocsin.cli.inspection import Remark, inspect
    from tocsin.errors import InputError

    subject: Subject | None = None
    remarks: tuple[Remark, ...]
    try:
        subject, remarks = inspect(load(path))
    except InputError as error:
        remarks = tuple(Remark(finding=finding) for finding in error.findings)
    findings = [_shown(remark.finding) for remark in remarks if not remark.is_warning]
    warnings = [_shown(remark.finding) for remark in remarks if remark.is_warning]
    if as_json:
        print_json({"ok": not findings, "findings": _json(findings), "warnings": _json(warnings)})
    else:
        for finding in findings:
            click.echo(str(finding))
        for warning in warnings:
            click.echo(f"warning: {warning}")
        click.echo(_verdict(path, subject, len(findings), len(warnings)), err=bool(findings))
    sys.exit(UNUSABLE if findings else 0)


def _json(findings: Iterable[Finding]) -> list[dict[str, object]]:
    return [asdict(finding) for finding in findings]


def _shown(finding: Finding) -> Finding:
    """Files as people name them: relative, when they are below where they are."""
    here = f"{Path.cwd()}{os.sep}"
    file, what, mend = (text.replace(here, "") for text in (finding.file, finding.what, finding.mend))
    return replace(finding, file=file, what=what, mend=mend)


def _verdict(path: Path, subject: Subject | None, findings: int, warnings: int) -> str:
    warned = f"{warnings} warning{'s' * (warnings != 1)}" if warnings else "no warnings"
    if findings or subject is None:
        return f"{path}: {findings} finding{'s' * (findings != 1)}, {warned}"
    config, rules = subject.config, sum(len(group.rules) for group in subject.groups)
    parts = (
        (len(config.collectors), "collector"),
        (rules, "rule"),
        (len(config.routes), "route"),
        (len(config.notifiers), "notifier"),
    )
    counts = ", ".join(f"{number} {noun}{'s' * (number != 1)}" for number, noun in parts)
    return f"{path}: {counts}: fine, {warned}"


def _explain_route(path: Path, text: str, as_json: bool) -> None:
    from tocsin.config import router_of
    from tocsin.model import Labels

    labels = Labels(_labels(text))
    router = router_of(load(path))
    steps = router.explain(labels)
    told = [name for route in router.routes_of(labels) for name in route.receivers]
    if as_json:
        print_json({"labels": dict(labels), "notify": told, "steps": [asdict(step) for step in steps]})
        return
    print_table(
        ("", "route", "why"),
        [("→" if step.taken else "", step.route, step.why) for step in steps],
        empty="no routes",
    )
    click.echo(f"told: {', '.join(told) or 'nobody'}")


def _labels(text: str) -> dict[str, str]:
    labels: dict[str, str] = {}
    for part in text.split(","):
        name, separator, value = part.partition("=")
        if not separator or not name.strip():
            raise click.BadParameter(
                f"{part!r} is no label; write them like severity=P0,service=checkout", param_hint="--route"
            )
        labels[name.strip()] = value.strip().strip('"')
    return labels
