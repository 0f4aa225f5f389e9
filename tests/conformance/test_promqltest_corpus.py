"""The engine against Prometheus' own scripts: every eval, strictly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.promqltest.__main__ import run

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "promqltest"
SCRIPTS = sorted(CORPUS.glob("*.test"))

SCRIPT = """\
load 1m
  m{a="x"} 0+60x10
  m{a="y"} 1 _ stale
  h {{schema:0 count:1 sum:1 buckets:[1]}}

eval instant at 10m rate(m{a="x"}[5m])
  expect no_warn
  {a="x"} 1

eval range from 0 to 2m step 1m m{a="y"}
  m{a="y"} 1 1

eval instant at 1m m + on () m
  expect fail msg: found duplicate series

eval instant at 1m h
  h {{schema:0 count:1 sum:1 buckets:[1]}}

eval instant at 1m count(h)
  {} 1

eval instant at 1h count(h)
"""


@pytest.mark.skipif(not SCRIPTS, reason=f"Prometheus' scripts are not at {CORPUS}")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_prometheus_own_script_passes(script: Path) -> None:
    """Nothing fails, and nothing is skipped."""
    tally = run([script], strict=True)
    assert tally.failures == []
    assert tally.passed


def test_what_the_corpus_lacks_holds_too() -> None:
    """Regression, infinities, sums that overflow or cancel."""
    tally = run([Path(__file__).parent / "beyond_corpus.test"], strict=True)
    assert (tally.passed, tally.failures) == (18, [])


def test_a_script_that_holds_passes(tmp_path: Path) -> None:
    """Results, failures and annotations."""
    path = tmp_path / "good.test"
    path.write_text(SCRIPT)
    tally = run([path], strict=True)
    assert (tally.passed, tally.failures) == (6, [])


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('{a="x"} 1', '{a="x"} 2'),
        ('{a="x"} 1', '{a="z"} 1'),
        ("expect no_warn", "expect warn"),
        ("found duplicate series", "something else"),
        ('m{a="y"} 1 1', 'm{a="y"} 1 _ 1'),
        ("1m h\n  h {{schema:0 count:1 sum:1 buckets:[1]}}", "1m h\n  h {{schema:0 count:1 sum:1 buckets:[2]}}"),
        ("1m h\n  h {{schema:0 count:1 sum:1 buckets:[1]}}", "1m h\n  h {{schema:1 count:1 sum:1 buckets:[1]}}"),
        ("1m h\n  h {{schema:0 count:1 sum:1 buckets:[1]}}", "1m h\n  h 1"),
    ],
)
def test_a_script_that_does_not_hold_fails(tmp_path: Path, right: str, wrong: str) -> None:
    """The runner can fail: a wrong value, label set, annotation, message or time is seen."""
    path = tmp_path / "bad.test"
    path.write_text(SCRIPT.replace(right, wrong))
    assert len(run([path], strict=True).failures) == 1
