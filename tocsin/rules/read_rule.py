"""Reads one rule of a group: an alerting rule or a recording rule, with every finding at its line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import yaml

from tocsin.errors import PromQLError
from tocsin.promql import Plan, Type, compile_expr

from .document import Document, Entry, line_of
from .names import NameRules
from .rule import AlertRule, RecordingRule, Rule, Templated, rule_id
from .template import TemplateSyntax, compile_template

_KEYS: Final = ("record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations")


def read_rule(
    document: Document, names: NameRules, node: yaml.Node, group: str, group_labels: dict[str, str]
) -> Rule | None:
    """The rule at `node`; None where too much is wrong with it. What is wrong is in `document.findings`."""
    return _RuleReader(document, names, node, document.mapping(node, "the rule", _KEYS)).rule(group, group_labels)


@dataclass
class _RuleReader:
    """One item of `rules`."""

    document: Document
    names: NameRules
    node: yaml.Node
    keys: dict[str, Entry]

    def rule(self, group: str, group_labels: dict[str, str]) -> Rule | None:
        if not isinstance(self.node, yaml.MappingNode):
            return None
        alert, record = self._text("alert"), self._text("record")
        if alert and record:
            self._find("record", "a rule has either 'alert' or 'record', this one both", "make two rules")
        elif not alert and not record:
            self._find("alert", "a rule needs 'alert' (to alert) or 'record' (to store the result)")
        own = self._labels()
        plan = self._plan()
        annotations = self._annotations()
        hold, keep = self._duration("for"), self._duration("keep_firing_for")
        if record:
            self._check_recording(
                record, {"annotations": bool(annotations), "for": hold > 0, "keep_firing_for": keep > 0}
            )
        templates = self._templates("labels", own, alert), self._templates("annotations", annotations, alert)
        if plan is None or bool(alert) == bool(record):
            return None
        labels = {**group_labels, **{name: text for name, (text, _) in own.items()}}
        id = rule_id(group, alert or record, labels)
        file, line = self.document.file, line_of(self.node)
        if record:
            pairs = tuple(sorted(labels.items()))
            return RecordingRule(id=id, name=record, plan=plan, labels=pairs, file=file, line=line)
        return AlertRule(
            id=id,
            name=alert,
            plan=plan,
            hold=hold,
            keep_firing=keep,
            labels=self._with_groups(templates[0], group_labels, alert),
            annotations=templates[1],
            file=file,
            line=line,
        )

    # Keys ----------------------------------------------------------------------------------------------------------

    def _find(self, key: str, what: str, mend: str = "") -> None:
        self.document.find(self.keys[key].key if key in self.keys else self.node, what, mend)

    def _text(self, key: str) -> str:
        return (self.document.text(self.keys[key].value, key) or "") if key in self.keys else ""

    def _duration(self, key: str) -> float:
        return self.document.duration(self.keys[key].value, key) if key in self.keys else 0.0

    def _plan(self) -> Plan | None:
        if not (text := self._text("expr")):
            if "expr" not in self.keys or isinstance(self.keys["expr"].value, yaml.ScalarNode):
                self._find("expr", "a rule needs 'expr'")
            return None
        node = self.keys["expr"].value
        try:
            plan = compile_expr(text)
        except PromQLError as error:
            line, column = line_of(node), 0
            if error.position is not None:
                line, column = self.document.place(node, min(error.position, len(text)))
            where = f" (column {column})" if column else ""
            self.document.find(line, f"expr: {error}{where}")
            return None
        if plan.type not in (Type.VECTOR, Type.SCALAR):
            # Prometheus takes it and fails at every evaluation.
            what = f"expr yields a {plan.type.value}, so the rule would fail each time"
            self._find("expr", what, "it must yield an instant vector or a scalar")
            return None
        return plan

    def _check_recording(self, name: str, given: dict[str, bool]) -> None:
        for key, is_given in given.items():
            if is_given:
                self._find(key, f"a recording rule has no {key!r}", "remove it, or make this an 'alert'")
        if "{" in name or "}" in name:
            self._find("record", f"braces in the name {name!r}", "the selector belongs into 'expr'")
        elif not self.names.is_metric(name):
            self._find("record", f"invalid metric name {name!r}", "letters, digits, _ and :")

    def _labels(self) -> dict[str, tuple[str, Entry]]:
        if "labels" not in self.keys:
            return {}
        texts = self.document.texts(self.keys["labels"].value, "labels")
        for name, (_, entry) in texts.items():
            self.names.check_label(self.document, entry.key, name, "label")
        return texts

    def _annotations(self) -> dict[str, tuple[str, Entry]]:
        if "annotations" not in self.keys:
            return {}
        return self.document.texts(self.keys["annotations"].value, "annotations")

    # Templates -----------------------------------------------------------------------------------------------------

    def _templates(self, kind: str, texts: dict[str, tuple[str, Entry]], alert: str) -> tuple[Templated, ...]:
        """The compiled templates by name. A recording rule's labels are no templates."""
        out = []
        for name, (text, entry) in sorted(texts.items()):
            if kind == "annotations":
                self.names.check_label(self.document, entry.key, name, "annotation")
            if not alert:
                continue
            try:
                out.append(Templated(name=name, template=compile_template(text, alert)))
            except TemplateSyntax as error:
                self.document.find(self._line_in(entry.value, error.line), f"{kind}.{name}: {error.what}")
        return tuple(out)

    def _line_in(self, node: yaml.Node, line: int) -> int:
        assert isinstance(node, yaml.ScalarNode)
        offset = 0
        for _ in range(line - 1):
            offset = node.value.index("\n", offset) + 1
        return self.document.place(node, offset)[0]

    def _with_groups(
        self, own: tuple[Templated, ...], group_labels: dict[str, str], alert: str
    ) -> tuple[Templated, ...]:
        """The group's labels are templates as well; the rule's own win."""
        merged = {label.name: label for label in own}
        for name, text in group_labels.items():
            if name in merged:
                continue
            try:
                merged[name] = Templated(name=name, template=compile_template(text, alert))
            except TemplateSyntax as error:
                self.document.find(self.node, f"the group's label {name}: {error.what}")
        return tuple(label for _, label in sorted(merged.items()))
