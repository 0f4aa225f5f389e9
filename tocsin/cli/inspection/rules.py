"""Rules: what each alert must say so that people and routes can act on it, and that it can fire at all."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Final

from tocsin.cli.inspection.subject import Check, Remark, Subject, remark
from tocsin.config.routing import RouteSettings
from tocsin.durations import format_duration
from tocsin.incidents.matching import fits
from tocsin.model import Severity
from tocsin.promql.native.only import native_only
from tocsin.rules import AlertRule, repeated
from tocsin.rules.entangled import offset_of

_TEMPLATE: Final = "{{"


def severity_is_known(subject: Subject) -> Iterator[Remark]:
    """An alert without one of ours counts as P2: told, and wakes nobody."""
    known = ", ".join(Severity)
    for rule in subject.alerts:
        severity = label(rule, "severity")
        if severity == "":
            mend = f"add `severity` to its labels: {known}"
            yield remark(rule, f"{rule.name} has no severity and counts as P2", mend, is_warning=True)
        elif severity is not None and Severity.named(severity) is None:
            what = f"{rule.name} has severity '{severity}', which is unknown and counts as P2"
            yield remark(rule, what, f"known: {known}", is_warning=True)


def annotations_are_there(subject: Subject) -> Iterator[Remark]:
    """The summary is the message's first line."""
    for rule in subject.alerts:
        if not any(annotation.name == "summary" for annotation in rule.annotations):
            mend = "add it: the message's first line, with the figure and what it is about"
            yield remark(rule, f"{rule.name} has no annotation 'summary'", mend, is_warning=True)


def runbooks_are_there(subject: Subject) -> Iterator[Remark]:
    """Who is woken is told what to do. A link into runbooks/ must lead to a page."""
    folder = subject.path("runbooks")
    for rule in subject.alerts:
        url = next((annotation.text for annotation in rule.annotations if annotation.name == "runbook_url"), "")
        if not url:
            wakes = (label(rule, "severity") or "").upper() in (Severity.P0, Severity.P1)
            mend = f"write runbooks/{rule.name}.md, and link it by `runbook_url`"
            yield remark(rule, f"{rule.name} has no annotation 'runbook_url'", mend, is_warning=not wakes)
            continue
        _, separator, page = url.partition("runbooks/")
        page = page.partition("#")[0].removesuffix(".md").strip("/ ")
        if separator and _TEMPLATE not in page and not (folder / f"{page}.md").is_file():
            what = f"{rule.name} links the runbook '{page}', which is not in {folder}"
            yield remark(rule, what, f"write {folder / page}.md")


def metrics_are_declared(subject: Subject) -> Iterator[Remark]:
    """A rule that reads what nothing yields never fires."""
    if subject.is_open:
        return
    for group in subject.groups:
        for rule in group.rules:
            for name in sorted((rule.plan.reads or frozenset()) - subject.metrics):
                near = get_close_matches(name, subject.metrics, n=1)
                mend = f"did you mean '{near[0]}'?" if near else "configure the collector (scrape?) that yields it"
                yield remark(rule, f"{rule.name} reads '{name}', which no collector or rule yields", mend)


def histograms_are_classic(subject: Subject) -> Iterator[Remark]:
    """The embedded store holds floats: what only native histograms answer has no result here, and never fires."""
    if subject.config.series.engine is not None:
        return
    for group in subject.groups:
        for rule in group.rules:
            for call in native_only(rule.plan):
                what = f"{rule.name} calls {call}, which reads native histograms: there are none in the embedded store"
                mend = "read the classic series (NAME_bucket by le, NAME_count, NAME_sum), or set series.engine"
                yield remark(rule, what, mend)


def what_rules_compare_with_is_kept(subject: Subject) -> Iterator[Remark]:
    """A rule that asks what was a week ago sees nothing where a day is kept: it never fires, or always."""
    kept = subject.config.series.retention
    if subject.config.series.engine is not None:
        return
    blind = {
        rule.name: offset_of(rule.plan)
        for group in subject.groups
        for rule in group.rules
        if offset_of(rule.plan) >= kept
        and (subject.is_open or rule.plan.reads is None or rule.plan.reads & subject.fed)
    }
    if blind:
        ago = format_duration(max(blind.values()))
        what = (
            f"series.retention is {format_duration(kept)}, and some rules compare with what was up to {ago} ago, which "
        )
        what += f"they never see: {', '.join(sorted(blind))}"
        mend = f"keep {format_duration(max(blind.values()) + 86_400)}, or leave those rules out"
        yield Remark(finding=subject.config.finding(("series", "retention"), what, mend), is_warning=True)


def rules_are_told_apart(subject: Subject) -> Iterator[Remark]:
    """The same rule twice is rarely meant."""
    for finding in repeated(subject.groups):
        yield Remark(finding=finding, is_warning=True)


def alerts_have_a_route(subject: Subject) -> Iterator[Remark]:
    """What no route can take goes to the first notifier: said once per severity."""
    config = subject.config
    if not config.routes or not config.notifiers:
        return
    untaken: dict[str, list[AlertRule]] = defaultdict(list)
    for rule in subject.alerts:
        known = {templated.name: templated.text for templated in rule.labels if _TEMPLATE not in templated.text}
        if not any(_may_take(route, {**known, "alertname": rule.name}) for route in config.routes):
            untaken[label(rule, "severity") or "(none)"].append(rule)
    for severity, rules in sorted(untaken.items()):
        names = ", ".join(rule.name for rule in rules[:3]) + (", …" if len(rules) > 3 else "")
        goes = f"they go to {config.notifiers[0].name}"
        what = f"no route takes {len(rules)} alerts of severity {severity} ({names}): {goes}"
        finding = config.finding(("routes",), what, f"add a route that matches severity: {severity}")
        yield Remark(finding=finding, is_warning=True)


CHECKS: Final[tuple[Check, ...]] = (
    severity_is_known,
    annotations_are_there,
    runbooks_are_there,
    metrics_are_declared,
    histograms_are_classic,
    what_rules_compare_with_is_kept,
    rules_are_told_apart,
    alerts_have_a_route,
)


def label(rule: AlertRule, name: str) -> str | None:
    """A label's value as written; "" when it is not there, None when a template makes it."""
    text = next((templated.text for templated in rule.labels if templated.name == name), "")
    return None if _TEMPLATE in text else text


def _may_take(route: RouteSettings, known: Mapping[str, str]) -> bool:
    """False when a label that is known already does not match; what the series bring can't be known here."""
    return all(fits(expression, known[name]) for name, expression in route.match.items() if name in known)
