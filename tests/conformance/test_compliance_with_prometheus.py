"""The compliance queries against a live Prometheus: a sample of them, since all take a while."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conformance.compliance import EXPLAINED, VARIANTS, Query, demo, difference, filled, judge, queries
from tests.conformance.live_prometheus import LivePrometheus
from tocsin.model import Labels
from tocsin.series import Store

World = tuple[LivePrometheus, Store, float]


@pytest.fixture(scope="module")
def world(real_peer: Callable[[str], Path]) -> Iterator[World]:
    """A Prometheus and a store with the same samples, and the end of what they hold."""
    real_peer("prometheus")
    until = int(time.time()) // 10 * 10 * 1000 + 1234
    series = demo(until)
    with LivePrometheus() as peer:
        peer.write(series)
        yield peer, filled(series), until / 1000 - 61.7


@pytest.mark.peer
def test_the_engine_answers_as_prometheus_does(world: World, corpus: Path) -> None:
    """Every fifth query of the suite: equal, or different for a reason that is written down."""
    peer, store, end = world
    chosen = list(queries(corpus / "promql_compliance" / "promql-test-queries.yml"))[::5]
    assert len(chosen) > 100
    differences = {query.text: judge(query, peer, store, end - 600, end, 10.0) for query in chosen}
    unexplained = {
        text: found
        for text, found in differences.items()
        if found and not any(re.search(pattern, text) for pattern in EXPLAINED)
    }
    assert unexplained == {}


@pytest.mark.peer
def test_a_difference_is_seen(world: World) -> None:
    """The comparison can fail: another query's answer is not equal."""
    peer, store, end = world
    assert judge(Query("nope(", False), peer, store, end - 60, end, 10.0) == ""
    empty = Store()
    assert "only theirs" in judge(Query("demo_num_cpus", False), peer, empty, end - 60, end, 10.0)


def test_differences_are_told() -> None:
    """In series, in points, in values; NaN equals NaN."""
    one = {Labels(a="x"): {1.0: 1.0, 2.0: float("nan")}}
    assert difference(one, {Labels(a="x"): {1.0: 1.0 + 1e-9, 2.0: float("nan")}}) == ""
    assert "only theirs" in difference(one, {})
    assert "2 points theirs, 1 ours" in difference(one, {Labels(a="x"): {1.0: 1.0}})
    assert "1.0 theirs, 1.1 ours" in difference(one, {Labels(a="x"): {1.0: 1.1, 2.0: float("nan")}})


def test_every_variant_of_the_suite_is_known(corpus: Path) -> None:
    """No placeholder is left in an expanded query."""
    expanded = list(queries(corpus / "promql_compliance" / "promql-test-queries.yml"))
    assert len(expanded) > 500
    assert [query.text for query in expanded if "{{" in query.text] == []
    assert len(set(VARIANTS["binOp"])) == 12
