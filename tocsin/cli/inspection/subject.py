"""What is inspected, and what a check says about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tocsin.config import Config, content_path, rule_files
from tocsin.config.content import Kind
from tocsin.errors import Finding, InputError
from tocsin.ports import CollectorSpec
from tocsin.rules import AlertRule, Group, RecordingRule, load_rules
from tocsin.runtime import plugins
from tocsin.runtime.plugins import PluginError


@dataclass(frozen=True, kw_only=True)
class Remark:
    """A finding makes `tocsin check` fail; a warning does not."""

    finding: Finding
    is_warning: bool = False


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A configuration and the content that goes with it."""

    config: Config
    groups: tuple[Group, ...] = ()
    """Of the rule files that can be read."""

    @property
    def alerts(self) -> Iterator[AlertRule]:
        """Every rule that makes alerts."""
        return (rule for group in self.groups for rule in group.rules if isinstance(rule, AlertRule))

    def path(self, kind: Kind) -> Path:
        """Where that content is."""
        return content_path(kind, self.config.folder)

    @cached_property
    def specs(self) -> dict[str, CollectorSpec]:
        """Every kind of collector there is; those that can't be loaded are left out."""
        try:
            return plugins.collectors().load_all()
        except PluginError:
            return {}

    @cached_property
    def is_open(self) -> bool:
        """True when any metric may turn up: a collector yields what its targets expose, or rules run elsewhere."""
        kinds = {settings.kind for settings in self.config.collectors}
        return self.config.series.engine is not None or any(
            self.specs[kind].open_ended for kind in kinds & {*self.specs}
        )

    @cached_property
    def fed(self) -> frozenset[str]:
        """The names under which the configured collectors store samples, as far as they declare them."""
        kinds = {settings.kind for settings in self.config.collectors}
        specs = (self.specs[kind] for kind in kinds & {*self.specs})
        return frozenset(name for spec in specs for metric in spec.metrics for name in metric.series_names())

    @cached_property
    def metrics(self) -> frozenset[str]:
        """Every name under which a sample may be stored, as far as it is declared or recorded."""
        from tocsin.asgi.measures import DECLARED
        from tocsin.telemetry.metrics import Telemetry

        collected = (metric for spec in self.specs.values() for metric in spec.metrics)
        # An application behind our layers is scraped: the scrape collector can't declare what it will find.
        declared = [*Telemetry().declarations(), *DECLARED, *collected]
        recorded = {rule.name for group in self.groups for rule in group.rules if isinstance(rule, RecordingRule)}
        return frozenset(name for metric in declared for name in metric.series_names()) | recorded


Check = Callable[[Subject], Iterator[Remark]]


def read_subject(config: Config) -> tuple[Subject, tuple[Remark, ...]]:
    """The subject, and a finding for each rule file that can't be read; the other files are in it."""
    try:
        files = rule_files(config)
    except InputError as error:
        return Subject(config=config), tuple(Remark(finding=finding) for finding in error.findings)
    groups: list[Group] = []
    findings: list[Finding] = []
    for file in files:
        try:
            groups += load_rules([file])
        except InputError as error:
            findings += error.findings
    return Subject(config=config, groups=tuple(groups)), tuple(Remark(finding=finding) for finding in findings)


def remark(rule: AlertRule | RecordingRule, what: str, mend: str = "", *, is_warning: bool = False) -> Remark:
    """A remark about a rule, at its line."""
    return Remark(finding=Finding(file=rule.file, line=rule.line, what=what, mend=mend), is_warning=is_warning)
