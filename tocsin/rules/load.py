"""Reads Prometheus rule files: the keys, checks and limits of Prometheus 3, and every finding at once.

    groups = load_rules(expand(["alert_rules/*.yaml"]))       # RuleError: FILE:LINE: what, and how to mend it

Strict, as Prometheus: an unknown key, a name used twice, an expression or template that can't be parsed, a `for` on a
recording rule are refused, with the line. What Prometheus accepts is accepted, with two exceptions: a second YAML
document in a file, which Prometheus ignores, and an expression that yields a range or a string, which fails at every
evaluation. Nobody writes rules to have them ignored.
"""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import yaml

from tocsin.errors import Finding, RuleError

from .document import Document, Entry, is_null, line_of, read
from .names import NameRules, name_rules
from .read_rule import read_rule
from .rule import Group, Rule

_GROUP_KEYS: Final = ("name", "interval", "query_offset", "limit", "rules", "labels")


def load_rules(
    paths: Iterable[Path | str],
    *,
    names: Literal["utf8", "legacy"] = "utf8",
    ignore_unknown: bool = False,
) -> tuple[Group, ...]:
    """The groups of all files, in order. Raises RuleError with every finding of every file.

    `names` is Prometheus' metric_name_validation_scheme; `ignore_unknown` lets unknown keys pass.
    """
    findings: list[Finding] = []
    groups: list[Group] = []
    for path in paths:
        source = read(Path(path), findings)
        if source is not None:
            document = Document(str(path), source, findings, ignore_unknown)
            groups += _groups(document, name_rules(names))
    if findings:
        raise RuleError(*findings)
    return _told_apart(groups)


def load_text(source: str, file: str = "rules.yaml") -> tuple[Group, ...]:
    """The groups of a rule file's text; `file` is how findings call it. Raises RuleError."""
    document = Document(file, source)
    groups = _groups(document, name_rules("utf8"))
    if document.findings:
        raise RuleError(*document.findings)
    return _told_apart(groups)


def expand(patterns: Iterable[str | Path], folder: Path = Path()) -> tuple[Path, ...]:
    """The files that the patterns name, each once, sorted within a pattern. Raises RuleError for one that has none."""
    found: dict[Path, None] = {}
    missing: list[Finding] = []
    for pattern in patterns:
        full = str(folder / pattern)
        files = [Path(full)] if Path(full).is_file() else [Path(name) for name in sorted(glob.glob(full))]  # noqa: PTH207
        if not files:
            what = "no file of this name" if not glob.has_magic(full) else "the pattern names no file"
            missing.append(Finding(file=full, line=0, what=what, mend="check the path; it is relative to the file"))
        found.update(dict.fromkeys(files))
    if missing:
        raise RuleError(*missing)
    return tuple(found)


def repeated(groups: Iterable[Group]) -> tuple[Finding, ...]:
    """Rules that agree in kind, name, labels and expression with one before: no error, but rarely meant."""
    seen: dict[object, Rule] = {}
    findings = []
    for group in groups:
        for rule in group.rules:
            labels = tuple((label.name, label.text) if not isinstance(label, tuple) else label for label in rule.labels)
            first = seen.setdefault((type(rule), rule.name, labels, rule.plan.text), rule)
            if first is not rule:
                what = f"the rule {rule.name} with the same expression and labels is also at {first.file}:{first.line}"
                findings.append(Finding(file=rule.file, line=rule.line, what=what, mend="remove one"))
    return tuple(findings)


def _told_apart(groups: Iterable[Group]) -> tuple[Group, ...]:
    """Rules of one id get their number: across files, because the groups of two files may share a name."""
    count: Counter[str] = Counter()
    out = []
    for group in groups:
        rules: list[Rule] = []
        for rule in group.rules:
            count[rule.id] += 1
            twin = count[rule.id]
            rules.append(rule if twin == 1 else replace(rule, id=f"{rule.id};{twin}"))
        out.append(replace(group, rules=tuple(rules)))
    return tuple(out)


def _groups(document: Document, names: NameRules) -> list[Group]:
    root = document.root()
    if root is None:
        return []
    entry = document.mapping(root, "the file", ("groups",)).get("groups")
    if entry is None:
        return []
    groups: list[Group] = []
    first: dict[str, int] = {}
    for node in document.items(entry.value, "groups"):
        group = _GroupReader(document, names, node).group()
        if group.name and group.name in first:
            what = f"the group name {group.name!r} is used twice in this file"
            document.find(group.line, what, f"first on line {first[group.name]}; rename one")
        first.setdefault(group.name, group.line)
        groups.append(group)
    return groups


@dataclass
class _GroupReader:
    """Reads one item of `groups`."""

    document: Document
    names: NameRules
    node: yaml.Node

    def group(self) -> Group:
        document, node = self.document, self.node
        keys = document.mapping(node, "the group", _GROUP_KEYS)
        name = (document.text(keys["name"].value, "name") or "") if "name" in keys else ""
        if not name:
            document.find(keys["name"].value if "name" in keys else node, "a group needs a name")
        labels = self._labels(keys.get("labels"))
        limit = document.integer(keys["limit"].value, "limit") if "limit" in keys else 0
        interval = document.duration(keys["interval"].value, "interval") if "interval" in keys else 0.0
        offset = document.duration(keys["query_offset"].value, "query_offset") if "query_offset" in keys else 0.0
        return Group(
            name=name,
            rules=tuple(self._rules(keys.get("rules"), name, labels)),
            interval=interval or None,
            limit=max(limit, 0),
            query_offset=offset,
            file=document.file,
            line=line_of(node),
        )

    def _labels(self, entry: Entry | None) -> dict[str, str]:
        if entry is None:
            return {}
        texts = self.document.texts(entry.value, "the group's labels")
        for name, (_, pair) in texts.items():
            self.names.check_label(self.document, pair.key, name, "label")
        return {name: text for name, (text, _) in texts.items()}

    def _rules(self, entry: Entry | None, group: str, labels: dict[str, str]) -> Iterable[Rule]:
        if entry is None:
            return
        for node in self.document.items(entry.value, "rules"):
            if is_null(node):
                self.document.find(node, "an empty rule", "remove the dash")
                continue
            rule = read_rule(self.document, self.names, node, group, labels)
            if rule is not None:
                yield rule
