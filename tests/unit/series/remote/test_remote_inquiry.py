"""Evaluation over answers that come in steps: the same as over answers that are all there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from tocsin.errors import EvaluationError, SeriesLimit
from tocsin.model import Labels, Sample, utc
from tocsin.promql import compile_expr
from tocsin.rules import Group, load_text
from tocsin.series.remote.inquiry import Inquiry, Question, questions

NOW = utc(1_000_000)
ONE = compile_expr("up == 0")


def groups(text: str) -> Sequence[Group]:
    return load_text(text, "rules.yaml")


def sample(name: str) -> Sample:
    return Sample(name=name, labels=Labels(), value=1.0, at=NOW)


def test_what_was_not_asked_is_missing_and_unknown() -> None:
    """An attempt with a hole gives no result for it."""
    attempt = Inquiry(lambda _: None).attempt()
    with pytest.raises(EvaluationError, match="not asked yet"):
        attempt.at(NOW).evaluate(ONE)
    assert [Question("up == 0", NOW)] == list(attempt.missing)


def test_an_answer_that_is_an_error_is_one() -> None:
    """Every rule that asked gets it."""
    inquiry = Inquiry(lambda _: None)
    inquiry.answers[Question("up == 0", NOW)] = EvaluationError("server away")
    attempt = inquiry.attempt()
    with pytest.raises(EvaluationError, match="server away"):
        attempt.at(NOW).evaluate(ONE)
    assert not attempt.missing


def test_a_question_about_what_was_recorded_is_another_question() -> None:
    """The answer from before the record does not count; one about something else does."""
    inquiry = Inquiry(lambda _: None)
    attempt = inquiry.attempt()
    attempt.record([sample("job:up:sum")])
    for text in ("job:up:sum > 1", "up == 0", '{job="a"}'):
        with pytest.raises(EvaluationError):
            attempt.at(NOW).evaluate(compile_expr(text))
    assert [Question("job:up:sum > 1", NOW, 1), Question("up == 0", NOW, 0), Question('{job="a"}', NOW, 1)] == list(
        attempt.missing
    )


def test_what_is_recorded_is_stored_once_over_all_attempts() -> None:
    """And not while something before it is missing: it may be wrong."""
    stored: list[str] = []
    inquiry = Inquiry(lambda samples: stored.extend(each.name for each in samples))
    first = inquiry.attempt()
    first.record([sample("a")])
    with pytest.raises(EvaluationError):
        first.at(NOW).evaluate(ONE)
    first.record([sample("b")])
    assert stored == ["a"]
    inquiry.answers[Question("up == 0", NOW)] = EvaluationError("known by now")
    second = inquiry.attempt()
    second.record([sample("a")])
    with pytest.raises(EvaluationError):
        second.at(NOW).evaluate(ONE)
    second.record([sample("b")])
    assert stored == ["a", "b"]


def test_nothing_is_asked_that_reads_what_is_not_stored_yet() -> None:
    """The answer would be one from before the record, and be taken for the one after it."""
    inquiry = Inquiry(lambda _: None)
    first = inquiry.attempt()
    for text in ("up == 0", "a > 1"):
        with pytest.raises(EvaluationError):
            first.at(NOW).evaluate(compile_expr(text))
        first.record([sample("a")])
    assert list(first.missing) == [Question("up == 0", NOW)]


def test_a_store_that_is_full_says_so_in_every_attempt() -> None:
    """What came of a record is part of what an attempt is a function of."""

    def full(_: Sequence[Sample]) -> None:
        raise SeriesLimit("full")

    inquiry = Inquiry(full)
    for _ in range(2):
        with pytest.raises(SeriesLimit):
            inquiry.attempt().record([sample("a")])


def test_what_rules_ask_is_known_beforehand_but_for_what_reads_records() -> None:
    """Each expression once, at the group's offset."""
    found = groups(
        """
groups:
  - name: one
    query_offset: 10s
    rules:
      - {record: "job:up:sum", expr: sum by (job) (up)}
      - {alert: Few, expr: "job:up:sum < 2"}
      - {alert: Down, expr: up == 0}
  - name: two
    rules:
      - {alert: DownToo, expr: up == 0}
      - {alert: DownThree, expr: up == 0}
      - {alert: Any, expr: '{job="a"} > 1'}
"""
    )
    early = NOW - timedelta(seconds=10)
    assert [Question("sum by (job) (up)", early), Question("up == 0", early), Question("up == 0", NOW)] == questions(
        found, NOW
    )
