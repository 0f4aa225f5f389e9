"""The shipped alert rules: each says what its reader needs, reads what somebody yields, and has been seen to fire."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from collectors.postgres.doctor import ADVISABLE, SEQUENCES
from tests.content.declared import Declared
from tocsin.cli import cli
from tocsin.model import Severity
from tocsin.promql import compile_expr
from tocsin.promql.syntax import Aggregate, Binary, Call, Selector, selectors, walk
from tocsin.rules import AlertRule, Group
from tocsin.rules.unit_tests import UnitTestFile

_LABEL = re.compile(r"\$labels\.(\w+)")
_QUERY = re.compile(r"""query \(printf "((?:[^"\\]|\\.)*)\"""")
TESTS = sorted((Path(__file__).parents[2] / "alert_rules" / "tests").glob("*.yaml"))


def written(rule: AlertRule, name: str) -> str:
    """A label or annotation as the file has it."""
    return next((part.text for part in (*rule.labels, *rule.annotations) if part.name == name), "")


def at(rule: AlertRule) -> str:
    """Where to look."""
    return f"{Path(rule.file).name}:{rule.line}: {rule.name}"


def test_there_are_rules_for_every_part_of_the_watched_system(alerts: tuple[AlertRule, ...]) -> None:
    """Postgres, endpoints, sign-ins and Tocsin itself, twenty alerts at least."""
    files = {Path(rule.file).stem for rule in alerts}
    assert files >= {"postgres", "endpoints", "auth", "tocsin"}
    assert len(alerts) >= 20


def test_every_alert_has_one_of_our_severities(alerts: tuple[AlertRule, ...]) -> None:
    """Routes match on it, so that a misspelt one would reach nobody in time."""
    assert [at(rule) for rule in alerts if written(rule, "severity") not in set(Severity)] == []


def test_every_alert_says_what_is_wrong_in_a_line_and_in_full(alerts: tuple[AlertRule, ...]) -> None:
    """The summary is a phone's only line; the description is what the message adds."""
    assert [at(rule) for rule in alerts if not written(rule, "summary") or not written(rule, "description")] == []
    assert [
        at(rule) for rule in alerts if "\n" in written(rule, "summary") or len(written(rule, "summary")) > 120
    ] == []


def test_every_alert_links_its_own_runbook(alerts: tuple[AlertRule, ...]) -> None:
    """The link ends in the alert's name: nobody lands on another one's page."""
    assert [at(rule) for rule in alerts if not written(rule, "runbook_url").endswith(f"/runbooks/{rule.name}")] == []


def test_rules_read_only_what_is_declared(groups: tuple[Group, ...], declared: Declared) -> None:
    """A rule on a metric that nothing yields never fires, and nobody would notice."""
    found = {rule.name: declared.unknown_names(rule.plan) for group in groups for rule in group.rules}
    assert {name: unknown for name, unknown in found.items() if unknown} == {}


def test_rules_use_only_labels_that_are_declared(groups: tuple[Group, ...], declared: Declared) -> None:
    """A matcher on a label that is never there matches nothing, or everything."""
    found = {rule.name: declared.unknown_labels(rule.plan) for group in groups for rule in group.rules}
    assert {name: unknown for name, unknown in found.items() if unknown} == {}


def test_no_alert_loses_its_service(alerts: tuple[AlertRule, ...]) -> None:
    """Routes group by it and messages begin with it: whoever sums by `job`, or joins on it alone, drops it."""
    lost: set[str] = set()
    for rule in alerts:
        for node in walk(rule.plan.tree):
            if isinstance(node, Aggregate) and not node.without:
                kept = node.labels
            elif isinstance(node, Binary) and node.matching and node.matching.on and node.matching.card == "one-to-one":
                kept = node.matching.labels
            else:
                continue
            if "job" in kept and "service" not in kept:
                lost.add(f"{at(rule)}: {node.op} {sorted(kept)}")
    assert lost == set()


def test_what_is_only_advisable_is_no_alert(alerts: tuple[AlertRule, ...]) -> None:
    """track_io_timing is off by default: every server that nobody tuned would be told as one that can't be seen. Hidden
    sequences are told: PostgresSequence can't fire for them."""
    (rule,) = (rule for rule in alerts if rule.name == "PostgresObserverBlind")
    (matcher,) = (m for m in next(iter(rule.plan.selectors)).matchers if m.name == "capability")
    assert set(matcher.value.split("|")) == ADVISABLE - {SEQUENCES}


def test_counts_are_told_as_whole_numbers(alerts: tuple[AlertRule, ...]) -> None:
    """increase() extrapolates: "5.455 deadlocks" is no figure for a phone."""
    fraction = re.compile(r"\{\{ *\$value *(?:\}\}|\| *humanize *\}\})")
    assert [
        at(rule)
        for rule in alerts
        if any(isinstance(node, Call) and node.function == "increase" for node in walk(rule.plan.tree))
        and fraction.search(written(rule, "summary") + written(rule, "description"))
    ] == []


def test_templates_ask_only_for_labels_that_the_alert_bears(alerts: tuple[AlertRule, ...], declared: Declared) -> None:
    """Another one is an empty word in the message, and nobody who tests the rule sees it."""
    wrong: dict[str, set[str]] = {}
    for rule in alerts:
        borne = declared.borne(rule.plan.tree)
        asked_for = {name for part in (*rule.labels, *rule.annotations) for name in _LABEL.findall(part.text)}
        own = {part.name for part in rule.labels} | {"alertname"}
        if borne is not None and (unknown := asked_for - borne - own):
            wrong[at(rule)] = unknown
    assert wrong == {}


def test_what_templates_query_is_declared(alerts: tuple[AlertRule, ...], declared: Declared) -> None:
    """A query inside of a description finds nothing for ever, where nobody yields what it reads."""
    queries = {
        (at(rule), query): compile_expr(query.replace("%q", '"x"'))
        for rule in alerts
        for part in rule.annotations
        for query in _QUERY.findall(part.text)
    }
    found = {key: declared.unknown_names(plan) | declared.unknown_labels(plan) for key, plan in queries.items()}
    assert len(queries) >= 3
    assert {key: unknown for key, unknown in found.items() if unknown} == {}


def test_unit_tests_feed_only_series_that_are_declared(
    unit_tests: tuple[UnitTestFile, ...], declared: Declared
) -> None:
    """A test on invented series proves nothing about the real ones."""
    found: set[str] = set()
    for file in unit_tests:
        for series in (series for test in file.tests for series in test.series):
            known = declared.labels.get(series.name, frozenset())
            borne = frozenset(series.labels) - {"__name__", "job", "service"}
            if series.name not in declared.labels or (known is not None and borne - known):
                found.add(f"{Path(file.file).name}: {series.name}{sorted(borne)}")
    assert set() == found


def test_every_alert_fires_in_a_unit_test(alerts: tuple[AlertRule, ...], unit_tests: tuple[UnitTestFile, ...]) -> None:
    """An alert that no test has seen firing is a guess; of two severities each is seen."""
    fired: set[tuple[str, str]] = set()
    for test in (test for file in unit_tests for test in file.tests):
        for case in test.alerts:
            fired |= {(case.alertname, labels.get("severity", "")) for labels, _ in case.expected}
        for expression in test.expressions:
            if any(sample.value > 0 for sample in expression.expected):
                fired |= {asked(selector) for selector in selectors(compile_expr(expression.expr).tree)}
    names = [rule.name for rule in alerts]
    assert [
        at(rule)
        for rule in alerts
        if (rule.name, written(rule, "severity")) not in fired
        and not (names.count(rule.name) == 1 and (rule.name, "") in fired)
    ] == []


def asked(selector: Selector) -> tuple[str, str]:
    """(alert, severity) of a selector on ALERTS that are firing; the severity may be left out."""
    wanted = {matcher.name: matcher.value for matcher in selector.matchers if matcher.op.value == "="}
    if wanted.get("__name__") != "ALERTS" or wanted.get("alertstate") == "pending":
        return "", ""
    return wanted.get("alertname", ""), wanted.get("severity", "")


def test_every_alert_has_a_unit_test_in_which_it_stays_quiet(
    alerts: tuple[AlertRule, ...], unit_tests: tuple[UnitTestFile, ...]
) -> None:
    """What fires at everything passes the test before: each has a case that expects none, or one of several."""
    quiet: set[str] = set()
    for test in (test for file in unit_tests for test in file.tests):
        sources = {series.labels.without("__name__") for series in test.series}
        for case in test.alerts:
            if len(case.expected) < max(len(sources), 1):
                quiet.add(case.alertname)
    assert sorted({rule.name for rule in alerts} - quiet) == []


def test_promtool_accepts_the_rule_files(root: Path, real_peer: Callable[[str], Path]) -> None:
    """They are Prometheus' rule files: its own checker has nothing to say."""
    files = sorted((root / "alert_rules").glob("*.yaml"))
    ran = subprocess.run(
        [real_peer("promtool"), "check", "rules", *files], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert [line for line in ran.stdout.splitlines() if "FAILED" in line or "duplicate" in line.lower()] == []


@pytest.mark.untraced  # thousands of steps of the same code: traced, they take three times as long
@pytest.mark.parametrize("file", TESTS, ids=lambda path: path.stem)
def test_promtool_and_tocsin_agree_on_the_unit_tests(file: Path, real_peer: Callable[[str], Path]) -> None:
    """The same file, passed by both: neither is more lenient."""
    theirs = subprocess.Popen(
        [real_peer("promtool"), "test", "rules", file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        ours = CliRunner().invoke(cli, ["rules", "test", "--json", str(file)])
        output, _ = theirs.communicate(timeout=120)
    finally:
        theirs.kill()
    assert theirs.returncode == 0, output
    assert ours.exit_code == 0, ours.output
    assert json.loads(ours.stdout)["ok"] is True
