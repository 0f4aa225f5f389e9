"""Rule files: what is accepted, what is refused, where and with which advice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.errors import RuleError
from tocsin.rules import AlertRule, RecordingRule, expand, load_rules, load_text, repeated

WHOLE = """groups:
  - name: web
    interval: 30s
    limit: 10
    query_offset: 1m
    labels: {team: web, tier: one}
    rules:
      - alert: Down
        expr: up == 0
        for: 5m
        keep_firing_for: 10m
        labels: {severity: P0, tier: two}
        annotations: {summary: "{{ $labels.instance }} is down"}
      - record: job:up:sum
        expr: sum by (job) (up)
        labels: {kind: sum}
"""


def findings(text):
    """(line, what, mend) of everything wrong with a rule file."""
    with pytest.raises(RuleError) as caught:
        load_text(text, "r.yaml")
    return [(finding.line, finding.what, finding.mend) for finding in caught.value.findings]


def rule(*lines):
    """A file with one rule; its lines begin at line 4."""
    return "groups:\n  - name: g\n    rules:\n" + "".join(f"      {line}\n" for line in lines)


def test_every_key_is_read():
    """Groups, alerting and recording rules; the group's labels go to its rules, whose own win."""
    (group,) = load_text(WHOLE, "r.yaml")
    alert, record = group.rules
    assert (group.name, group.interval, group.limit, group.query_offset, group.line) == ("web", 30.0, 10, 60.0, 2)
    assert isinstance(alert, AlertRule)
    assert isinstance(record, RecordingRule)
    assert (alert.name, alert.hold, alert.keep_firing, alert.line) == ("Down", 300.0, 600.0, 8)
    assert {label.name: label.text for label in alert.labels} == {"severity": "P0", "team": "web", "tier": "two"}
    assert (record.name, record.labels) == ("job:up:sum", (("kind", "sum"), ("team", "web"), ("tier", "one")))


@pytest.mark.parametrize("text", ["", "# nothing\n", "groups:\n", "groups: []\n", "{}\n", "~\n"])
def test_an_empty_file_has_no_groups(text):
    """As in Prometheus."""
    assert load_text(text) == ()


def test_all_findings_are_told_at_once():
    """Of one file and of several: nobody mends one error per run."""
    text = rule("- alrt: A", "  expr: sum(", "  for: 5 minutes", "  labels: {__name__: x}", "- alert: B")
    assert sorted(line for line, _, _ in findings(text)) == [4, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("text", "line", "what", "mend"),
    [
        ("groups: {}\n", 1, "groups must be a list, not a mapping", ""),
        ("group: []\n", 1, "unknown key 'group' in the file", "did you mean 'groups'?"),
        ("groups:\n  - nme: x\n    rules: []\n", 2, "unknown key 'nme' in the group", "did you mean 'name'?"),
        ("groups:\n  - rules: []\n", 2, "a group needs a name", ""),
        ("groups:\n  - name: a\n    limit: many\n", 3, "limit must be a whole number, not 'many'", ""),
        (
            "groups:\n  - name: a\n  - name: a\n",
            3,
            "the group name 'a' is used twice in this file",
            "first on line 2; rename one",
        ),
        ("groups:\n  - name: a\n    name: b\n", 3, "'name' is given twice in the group", "first on line 2"),
        (
            rule("- alert: A", "  expr: m", "  anotations: {}"),
            6,
            "unknown key 'anotations' in the rule",
            "did you mean 'annotations'?",
        ),
        (rule("- alert: A", "  expr: m", "  labels: [a]"), 6, "labels must be a mapping, not a list", ""),
        (
            rule("- alert: A", "  expr: m", "  labels: {a: {b: c}}"),
            6,
            "a value of labels must be a text, not a mapping",
            "",
        ),
        (
            rule("- alert: A", "  expr: m", "  labels:", "    a: 1", "    a: 2"),
            8,
            "'a' is given twice in labels",
            "first on line 7",
        ),
        (rule("-"), 4, "an empty rule", "remove the dash"),
        (rule("- alert: A"), 4, "a rule needs 'expr'", ""),
        (
            rule("- alert: A", "  expr: m[5m]"),
            5,
            "expr yields a range vector, so the rule would fail each time",
            "it must yield an instant vector or a scalar",
        ),
        (
            "groups: []\n---\ngroups: []\n",
            3,
            "a second YAML document, which Prometheus ignores",
            "put its content into the first",
        ),
    ],
)
def test_what_is_wrong_is_told_with_line_and_advice(text, line, what, mend):
    """FILE:LINE: what, and how to mend it."""
    assert (line, what, mend) in findings(text)


def test_a_duration_shows_the_form_wanted():
    """`5 minutes` is not Prometheus'."""
    ((line, what, _),) = findings(rule("- alert: A", "  expr: m", "  for: 5 minutes"))
    assert (line, what) == (6, "for: not a duration: '5 minutes'; write it like 30s, 5m or 1h30m")


def test_yaml_that_cant_be_parsed_names_the_line():
    """The parser's own words."""
    ((line, what, _),) = findings("groups:\n  - name: [a\n  - b: c\n")
    assert (line, what.startswith("not valid YAML: ")) == (3, True)


@pytest.mark.parametrize(
    ("lines", "line", "column"),
    [
        (["  expr: sum(rate(m[5m])) by (job) +"], 5, 42),
        (["  expr: 'm ++'"], 5, 20),
        (["  expr: |", "    sum by (job) (", "      rate(m[5m])", "    ) / / 2"], 8, 15),
    ],
)
def test_an_expression_that_cant_be_parsed_is_found_at_its_line_and_column(lines, line, column):
    """Also inside a block of several lines."""
    ((found, what, _),) = findings(rule("- alert: A", *lines))
    assert (line, f"(column {column})") == (found, what[what.rindex("(") :])


@pytest.mark.parametrize(
    ("lines", "line", "what"),
    [
        (["  annotations: {s: '{{ $label.x }}'}"], 6, 'annotations.s: undefined variable "$label"'),
        (["  annotations: {s: '{{ humanise $value }}'}"], 6, 'annotations.s: function "humanise" not defined'),
        (["  labels: {s: '{{ $value'}"], 6, "labels.s: unclosed action"),
        (
            ["  annotations:", "    s: |", "      one", "      {{ two }}"],
            9,
            'annotations.s: function "two" not defined',
        ),
    ],
)
def test_a_template_that_cant_be_parsed_is_found_at_its_line(lines, line, what):
    """Before any alert needs it."""
    assert [(line, what)] == [found[:2] for found in findings(rule("- alert: A", "  expr: m", *lines))]


def test_an_unknown_label_in_a_template_is_no_error():
    """Nobody can know the labels before there is an alert."""
    load_text(rule("- alert: A", "  expr: m", "  annotations: {s: '{{ $labels.nobody }}'}"))


def test_a_recording_rules_labels_are_no_templates():
    """Prometheus stores them as they are."""
    (group,) = load_text(rule("- record: r", "  expr: m", "  labels: {a: '{{ x'}"))
    assert group.rules[0].labels == (("a", "{{ x"),)


def test_an_empty_label_is_kept_because_it_removes_one():
    """`instance: ""` takes the result's label away."""
    (group,) = load_text(rule("- alert: A", "  expr: m", "  labels: {instance: ''}"))
    assert [(label.name, label.text) for label in group.rules[0].labels] == [("instance", "")]


def test_numbers_and_words_are_taken_as_they_are_written():
    """`expr: 1`, `code: 0755`, `on: yes`: no YAML surprises."""
    (group,) = load_text(rule("- alert: A", "  expr: 1", "  labels: {code: 0755, on: yes, nothing: ~}"))
    assert {label.name: label.text for label in group.rules[0].labels} == {"code": "0755", "on": "yes", "nothing": ""}


def test_aliases_and_merge_keys_work():
    """What is written out wins over what is merged."""
    text = rule("- &a", "  alert: A", "  expr: m", "  for: 1m", "- <<: *a", "  alert: B")
    assert [(rule.name, rule.hold) for rule in load_text(text)[0].rules] == [("A", 60.0), ("B", 60.0)]


def test_a_merge_key_that_eats_itself_is_refused():
    """And not followed for ever."""
    assert any(
        "nest without end" in what for _, what, _ in findings(rule("- &a", "  alert: A", "  expr: m", "  <<: *a"))
    )


def test_a_file_that_cant_be_read_is_a_finding(tmp_path: Path):
    """Missing, a folder, not UTF-8: each with its reason, all at once."""
    (tmp_path / "latin.yaml").write_bytes(b"groups: [] # \xe9")
    with pytest.raises(RuleError) as caught:
        load_rules([tmp_path / "none.yaml", tmp_path, tmp_path / "latin.yaml"])
    said = [finding.what for finding in caught.value.findings]
    assert said[:2] == ["can't be read: No such file or directory", "can't be read: Is a directory"]
    assert said[2].startswith("not UTF-8 text: ")


def test_unknown_keys_may_be_let_pass(tmp_path: Path):
    """As promtool --ignore-unknown-fields."""
    (tmp_path / "r.yaml").write_text("groups:\n  - name: g\n    owner: me\n")
    assert [group.name for group in load_rules([tmp_path / "r.yaml"], ignore_unknown=True)] == ["g"]


def test_patterns_name_files_once_and_in_order(tmp_path: Path):
    """One that names nothing is a finding, not an empty list."""
    for name in ("b.yaml", "a.yaml", "c.yml"):
        (tmp_path / name).write_text("")
    assert [path.name for path in expand(["*.yaml", "a.yaml", "c.yml"], tmp_path)] == ["a.yaml", "b.yaml", "c.yml"]
    with pytest.raises(RuleError, match="the pattern names no file"):
        expand(["*.yml", "none/*.yaml"], tmp_path)


def test_one_group_name_in_two_files_is_no_error_and_no_confusion(tmp_path: Path):
    """Prometheus keeps them apart by file; so do the rules' ids."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(rule("- alert: A", "  expr: m"))
    groups = load_rules([tmp_path / "a.yaml", tmp_path / "b.yaml"])
    assert [rule.id for group in groups for rule in group.rules] == ["g;A", "g;A;2"]
    assert len({group.key for group in groups}) == 2


def test_repeated_rules_are_found_and_no_error():
    """Prometheus loads them; a check shows them."""
    groups = load_text(rule("- {record: r, expr: m}", "- {record: r, expr: m}", "- {record: r, expr: n}"), "r.yaml")
    assert [(finding.line, finding.what) for finding in repeated(groups)] == [
        (5, "the rule r with the same expression and labels is also at r.yaml:4")
    ]
