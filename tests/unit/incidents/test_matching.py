"""Matchers: Alertmanager's four operators, anchored, and a syntax people can type."""

from __future__ import annotations

import pytest

from tocsin.incidents.matching import all_match, fits, matches, parse_matcher, pattern
from tocsin.model import Labels, Matcher, MatchOp

API = Labels(alertname="ApiDown", service="api", severity="P0")


@pytest.mark.parametrize(
    ("op", "value", "expected"),
    [
        (MatchOp.EQUAL, "api", True),
        (MatchOp.EQUAL, "ap", False),
        (MatchOp.NOT_EQUAL, "web", True),
        (MatchOp.NOT_EQUAL, "api", False),
        (MatchOp.REGEX, "api|web", True),
        (MatchOp.REGEX, "a", False),
        (MatchOp.NOT_REGEX, "a", True),
        (MatchOp.NOT_REGEX, "a.*", False),
    ],
)
def test_each_operator(op: MatchOp, value: str, expected: bool) -> None:
    """Equal, not equal, and both for a regular expression that must cover the whole value."""
    assert matches(Matcher(name="service", op=op, value=value), API) is expected


def test_a_missing_label_is_empty() -> None:
    """As in Alertmanager: `zone=""` matches an alert without a zone, and so does `zone!="eu"`."""
    assert all_match([parse_matcher('zone=""'), parse_matcher('zone!="eu"'), parse_matcher('zone!~".+"')], API)


def test_no_matchers_match_everything() -> None:
    """An empty conjunction is true."""
    assert all_match([], API)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('alertname="ApiDown"', Matcher(name="alertname", op=MatchOp.EQUAL, value="ApiDown")),
        ("severity=~P0|P1", Matcher(name="severity", op=MatchOp.REGEX, value="P0|P1")),
        ("ApiDown", Matcher(name="alertname", op=MatchOp.EQUAL, value="ApiDown")),
        (' a != "x y" ', Matcher(name="a", op=MatchOp.NOT_EQUAL, value="x y")),
        (r'path="a\"b\\c"', Matcher(name="path", op=MatchOp.EQUAL, value=r"a\"b\c".replace('\\"', '"'))),
        ('zone=""', Matcher(name="zone", op=MatchOp.EQUAL, value="")),
        ("zone=", Matcher(name="zone", op=MatchOp.EQUAL, value="")),
    ],
)
def test_matchers_are_read_as_amtool_reads_them(text: str, expected: Matcher) -> None:
    """Quoted or not; a bare word is an alertname."""
    assert parse_matcher(text) == expected


def test_a_matcher_prints_as_it_is_read() -> None:
    """What a listing shows can be typed again."""
    matcher = Matcher(name="path", op=MatchOp.REGEX, value='a"b\\.c')
    assert parse_matcher(str(matcher)) == matcher


@pytest.mark.parametrize("text", ["", "=x", "a b=c", "service~api", 'service="api'])
def test_what_is_no_matcher_is_refused_with_the_form_wanted(text: str) -> None:
    """The error quotes the text and shows an example."""
    with pytest.raises(ValueError, match="write it like"):
        parse_matcher(text)


def test_a_broken_expression_is_quoted_with_the_reason() -> None:
    """RE2's own objection is passed on."""
    with pytest.raises(ValueError, match=r"'api\|\('.*missing \)"):
        parse_matcher('service=~"api|("')


def test_an_expression_that_stalls_backtracking_engines_is_quick_here() -> None:
    """RE2 is linear; it also has no back-references, so one is refused rather than slow."""
    assert not fits("(a+)+b", "a" * 5000)
    with pytest.raises(ValueError, match="RE2"):
        pattern(r"(a)\1")
