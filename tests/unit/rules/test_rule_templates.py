"""Templates by themselves: what they print, and that none can hang or break an alert.

How they compare with promtool, text by text, is in tests/conformance/test_promtool_templates.py.
"""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.errors import EvaluationError
from tocsin.model import Labels, utc
from tocsin.rules.template import AlertData, ExecutionFailed, TemplateSyntax, compile_template

SERIES = [(Labels(__name__="up", instance="b"), 21.0), (Labels(__name__="up", instance="a"), 11.0)]


def data(value=1.5):
    def query(expr):
        if expr == "fails":
            raise EvaluationError("it failed")
        return SERIES if expr == "up" else []

    return AlertData(
        labels={"instance": "db-1:5432", "job": "pg"},
        value=value,
        external_labels={"region": "eu"},
        external_url="https://tocsin.example/x",
        at=utc(1_353_755_652),
        query=query,
    )


def render(text, value=1.5):
    return compile_template(text, "A").render(data(value))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain {text}", "plain {text}"),
        ("{{ $labels.instance }}/{{ .Labels.job }}/{{ $labels.none }}", "db-1:5432/pg/"),
        ("{{ $value }} {{ .Value | printf `%.2f` }}", "1.5 1.50"),
        ('a{{ tmpl "other" . }}b', "ab"),
        ("{{ $externalLabels.region }} {{ $externalURL }} {{ pathPrefix }}", "eu https://tocsin.example/x /x"),
        ("{{ if gt $value 1.0 }}high{{ else if gt $value 0.5 }}mid{{ else }}low{{ end }}", "high"),
        ("{{ range query `up` | sortByLabel `instance` }}{{ .Labels.instance }}={{ .Value }} {{ end }}", "a=11 b=21 "),
        ("{{ range query `none` }}x{{ else }}nothing{{ end }}", "nothing"),
        ("{{ with query `up` }}{{ . | first | value }}{{ end }}", "21"),
        ("{{ define `t` }}<{{ .arg0 }}>{{ end }}{{ template `t` (args 7) }}", "<7>"),
        ("{{ $n := 0 }}{{ range query `up` }}{{ $n = .Value }}{{ end }}{{ $n }}", "11"),
        ("a {{- 1 -}} b{{/* not shown */}}", "a1b"),
        ("{{ now | humanizeTimestamp }}", "2012-11-24 11:14:12 +0000 UTC"),
        ("{{ (now | toTime).Format `Mon Jan 2 15:04` }}", "Sat Nov 24 11:14"),
        ("{{ (`-30m` | parseDuration | toDuration | (now | toTime).Add).UnixMilli }}", "1353753852000"),
        ("{{ (1800 | toDuration).String }}", "30m0s"),
        ("{{ title `it's a foo_bar` }}", "It's A Foo_bar"),
    ],
)
def test_a_template_prints(text, expected):
    """The parts that public rule collections use."""
    assert expected == render(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0 0 0s 0%"),
        (0.12, "120m 0.12 120ms 12%"),
        (1234567.0, "1.235M 1.177Mi 14d 6h 56m 7s 1.235e+08%"),
        (-273845.0, "-273.8k -267.4ki -3d 4h 4m 5s -2.738e+07%"),
        (float("nan"), "NaN NaN NaN NaN%"),
        (float("-inf"), "-Inf -Inf -Inf -Inf%"),
    ],
)
def test_numbers_for_people(value, expected):
    """humanize, humanize1024, humanizeDuration, humanizePercentage."""
    text = (
        "{{ humanize $value }} {{ humanize1024 $value }} {{ humanizeDuration $value }} {{ humanizePercentage $value }}"
    )
    assert expected == render(text, value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ query `none` | first }}", "error calling first: first() called on vector with no elements"),
        ("{{ query `fails` }}", "error calling query: it failed"),
        ("{{ query `sum(` }}", ""),
        ("{{ humanize `one` }}", 'error calling humanize: strconv.ParseFloat: parsing "one": invalid syntax'),
        ("{{ $value.x }}", "can't evaluate field x in type float64"),
        ("{{ if gt $value 1 }}{{ end }}", "error calling gt: incompatible types for comparison"),
        ("{{ template `none` }}", 'template "none" not defined'),
    ],
)
def test_what_fails_with_data_is_told_in_the_text(text, message):
    """Prometheus' frame around Go's message; the alert lives."""
    said = render(text)
    if message:
        assert said.startswith("<error expanding template: error executing template __alert_A: template: __alert_A:1:")
        assert said.endswith(f"{message}>")


@pytest.mark.parametrize(
    "text",
    [
        "{{ define `t` }}{{ template `t` }}{{ end }}{{ template `t` }}",
        "{{ range 1000000000 }}{{ end }}",
        "{{ define `t` }}{{ range 1000 }}{{ range 1000 }}0123456789{{ end }}{{ end }}{{ end }}{{ template `t` }}",
        "{{ printf `%999999999d` 1 }}{{ range 9999 }}{{ printf `%999d` 1 }}{{ end }}",
    ],
)
def test_no_template_runs_away(text):
    """Recursion, endless loops and endless text end with a message."""
    with pytest.raises(ExecutionFailed):
        compile_template(text, "A").execute(data())


def test_nesting_has_a_limit():
    """Ten thousand parentheses are refused, not followed."""
    with pytest.raises(TemplateSyntax, match="nested deeper"):
        compile_template("{{ " + "(" * 10_000 + "1" + ")" * 10_000 + " }}", "A")


def test_a_syntax_error_names_its_line():
    """From 1, in the template's own text."""
    with pytest.raises(TemplateSyntax) as caught:
        compile_template("one\ntwo {{ $labels.x }}\n{{ nobody }}\n", "A")
    assert (caught.value.line, caught.value.what) == (3, 'function "nobody" not defined')


_WORDS = st.sampled_from(
    [
        "{{", "}}", "{{-", "-}}", "if", "else", "end", "range", "with", "define", "template", "block", "break", "$x",
        "$labels", "$value", ".Labels", ".", ".x", ":=", "=", "|", "(", ")", ",", "1", "1.5", "-1", "`a`", '"b"', "'c'",
        "printf", "`%d`", "query", "`up`", "first", "value", "len", "index", "humanize", "eq", "and", "nil", "true",
        "/*", "*/", "match", "`(`", "reReplaceAll", "toTime", "args", "title", "é", "\x00", "\n", " ",
    ]
)  # fmt: skip


@given(st.lists(_WORDS, max_size=25).map(" ".join) | st.text(string.printable, max_size=40))
def test_any_text_is_refused_or_rendered(text):
    """Nothing but TemplateSyntax comes out of reading, nothing at all out of rendering."""
    for source in (text, "{{ " + text + " }}"):
        try:
            template = compile_template(source, "A")
        except TemplateSyntax:
            continue
        assert isinstance(template.render(data()), str)
