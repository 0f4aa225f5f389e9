"""The corpus of promtool and rulefmt: every file as Prometheus' own tests have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.promtool import (
    RULE_FILES,
    RULEFMT,
    UNIT_TESTS,
    Case,
    judged,
    load_answer,
    unit_test_answer,
    unknown,
)


@pytest.mark.untraced  # thousands of steps of the same code: traced, they take three times as long
@pytest.mark.parametrize("case", UNIT_TESTS, ids=str)
def test_a_unit_test_file_passes_or_fails_as_promtool_says(case: Case, corpus: Path) -> None:
    """And where it fails, at the line of the case."""
    assert judged(case, unit_test_answer(corpus / "promtool" / case.file, case)) == ""


@pytest.mark.parametrize("case", RULE_FILES, ids=str)
def test_a_rule_file_loads_or_is_refused_at_its_line(case: Case, corpus: Path) -> None:
    """The rule files that the unit tests use."""
    assert judged(case, load_answer(corpus / "promtool" / case.file, case)) == ""


@pytest.mark.parametrize("case", RULEFMT, ids=str)
def test_rulefmt_good_loads_and_bad_is_refused_at_its_line(case: Case, corpus: Path) -> None:
    """Prometheus' test data of the rule format."""
    assert judged(case, load_answer(corpus / "rulefmt" / case.file, case)) == ""


def test_no_file_of_the_corpus_is_left_out(corpus: Path) -> None:
    """A new file needs a case."""
    assert unknown([corpus / "promtool", corpus / "rulefmt"]) == []
