"""What the parser takes, what it refuses and how it says so."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.errors import PromQLError
from tocsin.promql import Type, compile_expr
from tocsin.promql.parse import MAX_DEPTH, MAX_LENGTH, parse


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("a + b * c", "a + (b * c)"),
        ("a - b - c", "(a - b) - c"),
        ("a ^ b ^ c", "a ^ (b ^ c)"),
        ("-a ^ b", "-(a ^ b)"),
        ("-a * b", "(-a) * b"),
        ("a or b and c", "a or (b and c)"),
        ("a unless b and c", "(a unless b) and c"),
        ("a < b + c", "a < (b + c)"),
        ("a atan2 b + c", "(a atan2 b) + c"),
        ("sum(a) by (x)", "sum by (x) (a)"),
        ("a offset 5m + b", "(a offset 5m) + b"),
        ("rate(a[1h30m])", "rate(a[5400])"),
        ("a[10m:1m] @ 5 offset 1m", "a[10m:1m] offset 1m @ 5"),
        ('{"a", x="y"}', 'a{x="y"}'),
        ('a{x="y", z="w"}', 'a{z="w", x="y",}'),
        ("SUM(a)", "sum(a)"),
        ("a AND b", "a and b"),
        ("'x'", '"x"'),
        ("0x1F", "31"),
        ("1_000", "1000"),
        ("a # comment\n + b", "a + b"),
    ],
)
def test_precedence_and_spelling(text: str, same: str) -> None:
    """Two ways to write the same thing share their work in a round."""
    assert parse(text).key == parse(same).key


@pytest.mark.parametrize("name", ["sum", "by", "offset", "start", "fill", "bool", "range", "anchored", "a:b:c", "_x"])
def test_words_are_metric_names_where_nothing_else_is_meant(name: str) -> None:
    """As in Prometheus: but `bool`, which may not stand alone."""
    if name == "bool":
        with pytest.raises(PromQLError):
            parse(name)
    else:
        assert compile_expr(name).reads == {name}


@pytest.mark.parametrize(
    ("text", "message", "position"),
    [
        ("", "no expression found in input", 0),
        ("sum(", "unexpected end of input", 4),
        ("a b", 'unexpected "b"', 2),
        ("a{x=y}", 'unexpected "y" in label matching, expected string', 4),
        ("rate(a)", 'expected type range vector in call to function "rate", got instant vector', 5),
        ("a[5m] + 1", "binary expression must contain only scalar and instant vector types", 0),
        ("1 == 1", "comparisons between scalars must use BOOL modifier", 2),
        ("1 and a", 'set operator "and" not allowed in binary scalar expression', 2),
        ("nope(a)", 'unknown function with name "nope"', 0),
        ("{}", "vector selector must contain at least one non-empty matcher", 0),
        ('{x=~".*"}', "vector selector must contain at least one non-empty matcher", 0),
        ('a{x=~"("}', "error parsing regexp", 2),
        ('a{__name__="b"}', "metric name must not be set twice", 2),
        ("a[5m][5m]", "ranges only allowed for vector selectors", 5),
        ("a[0s]", "duration must be greater than 0", 1),
        ("a[292y]", "duration out of range: 291y at most", 1),
        ("a[5m/0]", "division by zero", 1),
        ("sum(a) offset 5m", "offset modifier must be preceded by", 7),
        ("a offset 1m offset 2m", "offset may not be set multiple times", 12),
        ("a @ 1e30", "timestamp out of bounds for @ modifier", 4),
        ("a @ inf", "timestamp out of bounds for @ modifier", 4),
        ("a + on (x) group_left (x) b", 'label "x" must not occur in ON and GROUP clause at once', 11),
        ("a and on (x) group_left () b", 'no grouping allowed for "and" operation', 13),
        ("a + bool b", "bool modifier can only be used on comparison operators", 2),
        ("topk(a)", "wrong number of arguments for aggregate expression provided, expected 2, got 1", 0),
        ("clamp(a)", 'expected 3 argument(s) in call to "clamp", got 1', 0),
        ("abs(a,)", "trailing commas not allowed in function call args", 6),
        ('"abc', "unterminated quoted string", 0),
        ('"\\q"', "unknown escape sequence", 1),
        ("5mm", "bad number or duration syntax", 0),
        ("a ; b", "unexpected character: ';'", 2),
        ("a[1h:] anchored", "anchored modifier must be preceded by an instant vector selector", 7),
    ],
)
def test_a_refusal_says_what_and_where(text: str, message: str, position: int) -> None:
    """The words are Prometheus', the offset is into the text."""
    with pytest.raises(PromQLError) as refused:
        compile_expr(text)
    assert message in str(refused.value)
    assert refused.value.position == position


@pytest.mark.parametrize(
    "text",
    [
        " + ".join(["a"] * 6000),
        "(" * 5000 + "a" + ")" * 5000,
        "-" * 5000 + "a",
        "sum(" * 3000 + "a" + ")" * 3000,
        "a[" + "(" * 5000 + "5m" + ")" * 5000 + "]",
        "a[" + "-" * 5000 + "5m]",
        " ^ ".join(["2"] * 5000),
        "a" * (MAX_LENGTH + 1),
        "a" + "[5m:]" * 2000,
    ],
)
def test_endless_expressions_are_refused(text: str) -> None:
    """No crash, no recursion error: a PromQLError that says how much is allowed."""
    with pytest.raises(PromQLError):
        compile_expr(text)


def test_what_is_allowed_can_be_evaluated() -> None:
    """The deepest tree that is taken stays within Python's own depth."""
    from tocsin.model import utc
    from tocsin.promql import Round, Vector
    from tocsin.series import Store

    deep = MAX_DEPTH - 1
    for text in (
        " + ".join(["m"] * 4000),
        "abs(" * deep + "m" + ")" * deep,
        "-(m + " * (deep // 3) + "m" + ")" * (deep // 3),
    ):
        result = Round(Store(), utc(0)).evaluate(compile_expr(text))
        assert isinstance(result, Vector)
        assert len(result) == 0


PIECES = st.sampled_from(
    [
        "sum",
        "rate",
        "by",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        ",",
        "=",
        "=~",
        "!=",
        ":",
        "@",
        "offset",
        "5m",
        "1",
        "-1",
        "a",
        'b{x="y"}',
        '"',
        "'",
        "`",
        "\\",
        "start()",
        "end()",
        "group_left",
        "on",
        "ignoring",
        "bool",
        "+",
        "-",
        "*",
        "/",
        "^",
        "%",
        "and",
        "or",
        "unless",
        "inf",
        "nan",
        "fill(0)",
        "anchored",
        "smoothed",
        "#",
        "\n",
        "0x",
        "1e",
        "1e999",
        "\\xff",
        "9999999999999999999y",
    ]
)


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60), st.lists(PIECES, max_size=25).map(" ".join), st.lists(PIECES, max_size=25).map("".join)
    )
)
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """Nothing but PromQLError comes out."""
    try:
        plan = compile_expr(text)
    except PromQLError:
        return
    assert plan.type in Type


GUARDED = """
import sys
sys.path.insert(0, sys.argv[1])
import orjson
from tocsin.errors import PromQLError
from tocsin.promql import compile_expr
for line in sys.stdin.buffer:
    try:
        compile_expr(orjson.loads(line))
    except PromQLError:
        pass
    print("alive", flush=True)
"""


@pytest.fixture(scope="module")
def guarded() -> Iterator[subprocess.Popen[bytes]]:
    """A process that parses what it is sent, a text a line, and says after each that it lives."""
    command = [sys.executable, "-c", GUARDED, str(Path(__file__).parents[3])]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        yield child
        child.stdin.close()  # type: ignore[union-attr]


REPEATED = st.tuples(st.lists(PIECES, min_size=1, max_size=4).map("".join), st.integers(1, 20_000)).map(
    lambda each: (each[0] * each[1])[:100_000]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=20), PIECES, REPEATED), max_size=4).map("".join))
def test_no_text_ends_the_process_that_parses_it(guarded: subprocess.Popen[bytes], text: str) -> None:
    """Nested, repeated and plain nonsense, in a process of its own: it answers every time."""
    assert guarded.stdin is not None
    assert guarded.stdout is not None
    guarded.stdin.write(orjson.dumps(text) + b"\n")
    guarded.stdin.flush()
    assert guarded.stdout.readline() == b"alive\n"


HOSTILE = """
import sys
sys.path.insert(0, sys.argv[1])
from tocsin.errors import PromQLError
from tocsin.promql import compile_expr
hostile = [
    "+".join(["a"] * 5000), "(" * 30000, "a @ 1e308", "a @ 9e18", "a @ -9e18", "a[9e18]", "a offset 9e18", "a[1y:1ms]",
    "\\\\" * 1000, "\\0" * 1000, "{" * 9999, "a{x=~'" + "(" * 2000 + "'}", "a{x=~'(a{1000}){1000}'}",
    "1e" + "9" * 4000, "9" * 60000, "a[" + "9" * 5000 + "s]", "a[2 ^ 9999]", "a[2 ^ -9 ^ 9 ^ 9 ^ 9]", "\\ud800",
    "a[(-2) ^ 0.5]", "a offset ((-2) ^ 0.5)",
]
for text in hostile:
    try:
        compile_expr(text)
    except PromQLError:
        pass
print("alive")
"""


def test_hostile_text_does_not_end_the_process() -> None:
    """In a process of its own, which must live to say so."""
    code = HOSTILE
    root = str(Path(__file__).parents[3])
    done = subprocess.run([sys.executable, "-c", code, root], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "alive"), done.stderr


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("rate(a[5m]) / b", {"a", "b"}),
        ("1 + 1", set()),
        ('{__name__=~"a.*"}', None),
        ('{job="x"} or a', None),
        ("info(a)", {"a", "target_info"}),
        ("sum_over_time(rate(a[1m])[5m:]) > on (x) group_left () (b or c)", {"a", "b", "c"}),
    ],
)
def test_a_plan_knows_what_it_reads(text: str, reads: set[str] | None) -> None:
    """So a rule runs when its samples arrive, and freezes when their source is blind."""
    assert compile_expr(text).reads == reads
