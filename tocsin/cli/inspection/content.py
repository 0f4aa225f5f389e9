"""Dashboards and notifiers' templates: they parse, their queries are PromQL, and chart what exists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tocsin.cli.inspection.subject import Check, Remark, Subject
from tocsin.errors import Finding, PromQLError
from tocsin.promql import compile_expr

_DURATIONS: Final = re.compile(
    r"\$(?:__rate_interval|__interval|__range|\{__rate_interval\}|\{__interval\}|\{__range\})"
)
_VARIABLES: Final = re.compile(r"\$\{[^}]*\}|\$\w+|\[\[\w+\]\]")


def dashboards_parse(subject: Subject) -> Iterator[Remark]:
    """JSON, with what Grafana's import wants."""
    for path, text in _dashboards(subject):
        try:
            board = json.loads(text)
        except json.JSONDecodeError as error:
            yield _remark(path, error.lineno, f"not valid JSON: {error.msg}", "export the dashboard from Grafana again")
            continue
        for key in ("title", "uid"):
            if not isinstance(board, dict) or not board.get(key):
                yield _remark(path, 1, f"the dashboard has no '{key}'", "export it from Grafana as JSON, not as a link")


def queries_are_promql(subject: Subject) -> Iterator[Remark]:
    """Every Prometheus query parses, and names metrics that somebody yields."""
    for path, text in _dashboards(subject):
        try:
            board = json.loads(text)
        except json.JSONDecodeError:
            continue  # told by dashboards_parse
        for expression in dict.fromkeys(_expressions(board)):
            line = text.count("\n", 0, max(text.find(json.dumps(expression, ensure_ascii=False)), 0)) + 1
            try:
                plan = compile_expr(with_variables(expression))
            except PromQLError as error:
                yield _remark(path, line, f"the query {expression!r} is no PromQL: {error}", "mend it in the panel")
                continue
            unknown = sorted((plan.reads or frozenset()) - subject.metrics)
            if unknown and not subject.is_open:
                what = f"the query charts {', '.join(unknown)}, which no collector or rule yields"
                yield _remark(path, line, what, "configure what yields it, or remove the panel", is_warning=True)


def templates_parse(subject: Subject) -> Iterator[Remark]:
    """A notifier's own templates: found out here, not by the first alert."""
    for index, settings in enumerate(subject.config.notifiers):
        folder = getattr(settings, "templates", None)
        if not isinstance(folder, Path):
            continue
        folder = subject.config.folder / folder
        if not folder.is_dir():
            what = f"there is no folder {folder}"
            yield Remark(finding=subject.config.finding(("notifiers", index, "templates"), what, "check the path"))
        yield from _broken_templates(folder)


CHECKS: Final[tuple[Check, ...]] = (dashboards_parse, queries_are_promql, templates_parse)


def with_variables(expression: str) -> str:
    """A panel's query with something in place of Grafana's variables."""
    return _VARIABLES.sub("1", _DURATIONS.sub("5m", expression))


def _broken_templates(folder: Path) -> Iterator[Remark]:
    from jinja2 import Environment, TemplateSyntaxError

    for path in sorted(folder.glob("*.j2")):
        try:
            Environment(autoescape=True).parse(path.read_text(encoding="utf-8"))
        except TemplateSyntaxError as error:
            yield _remark(path, error.lineno, f"not a Jinja2 template: {error.message}", "mend this line")
        except (OSError, UnicodeDecodeError) as error:
            yield _remark(path, 0, f"can't be read: {error}", "check its mode and encoding (UTF-8)")


def _dashboards(subject: Subject) -> Iterator[tuple[Path, str]]:
    for path in sorted(subject.path("dashboards").glob("*.json")):
        yield path, path.read_text(encoding="utf-8", errors="replace")


def _expressions(node: Any) -> Iterator[str]:
    """Every Prometheus query in a dashboard, at whatever depth."""
    if isinstance(node, dict):
        source = node.get("datasource")
        kind = source.get("type") if isinstance(source, dict) else None
        if isinstance(node.get("expr"), str) and node["expr"] and kind in (None, "prometheus"):
            yield node["expr"]
        for value in node.values():
            yield from _expressions(value)
    elif isinstance(node, list):
        for value in node:
            yield from _expressions(value)


def _remark(path: Path, line: int, what: str, mend: str, *, is_warning: bool = False) -> Remark:
    return Remark(finding=Finding(file=str(path), line=line, what=what, mend=mend), is_warning=is_warning)
