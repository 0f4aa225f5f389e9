"""The store holds what a plain dictionary would: random polls, checkpoints, restarts and forgetting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.model import STALE, Labels, Matcher, MatchOp, Sample, is_stale
from tocsin.series import Store

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = [("m", Labels(a=a)) for a in "abcde"] + [("n", Labels()), ("n", Labels(a="a", b="b"))]
Model = dict[tuple[str, Labels], dict[int, float]]


@st.composite
def polls(draw: st.DrawFn) -> list[tuple[str, object]]:
    """Steps: (poll, samples), (checkpoint, -), (restart, -)."""
    steps: list[tuple[str, object]] = []
    at = 0
    for _ in range(draw(st.integers(1, 30))):
        what = draw(st.sampled_from(["poll"] * 8 + ["checkpoint", "restart"]))
        if what == "poll":
            at += draw(st.sampled_from([10, 10, 10, 0, -10, 150]))
            chosen = draw(st.one_of(st.just(NAMES), st.lists(st.sampled_from(NAMES), min_size=1, unique=True)))
            value = draw(st.one_of(st.integers(0, 9).map(float), st.sampled_from([STALE, float("inf")])))
            steps.append(("poll", (at, [(key, value + index) for index, key in enumerate(chosen)])))
        else:
            steps.append((what, None))
    return steps


def held(store: Store, low: int) -> Model:
    """All samples of the store younger than `low`, by reading panels."""
    found: Model = {}
    for panel in store.select([Matcher(name="__name__", op=MatchOp.REGEX, value=".+")], -(10**15), 10**15):
        for column, labels in enumerate(panel.frame.labels()):
            line = panel.timeline[column]
            length = int(panel.lengths[line])
            times = panel.times[:length, line].tolist()
            points = dict(zip(times, panel.values[:length, column].tolist(), strict=True))
            assert times == sorted(points)
            kept = {at: value for at, value in points.items() if at > low}
            if kept:
                found[labels["__name__"], labels.without("__name__")] = kept
    return found


def equal(one: Model, other: Model) -> bool:
    return {key: _bits(points) for key, points in one.items()} == {key: _bits(points) for key, points in other.items()}


def _bits(points: dict[int, float]) -> list[tuple[int, int]]:
    return [(at, int(np.float64(value).view(np.int64))) for at, value in sorted(points.items())]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=polls())
def test_the_store_holds_what_a_dictionary_would(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, object]]
) -> None:
    """Late and double samples apart, everything younger than the retention is there to the bit."""
    folder = tmp_path_factory.mktemp("store")
    store = opened(folder)
    model: Model = {}
    newest = sealed = -(10**15)
    for what, argument in steps:
        if what == "poll":
            at, samples = argument  # type: ignore[misc]
            when = round((EPOCH + timedelta(seconds=at)).timestamp() * 1000)
            for key, value in samples:
                points = model.setdefault(key, {})
                if when > max([*points, sealed]):
                    points[when] = value
            store.append(
                Sample(name=name, labels=labels, value=value, at=EPOCH + timedelta(seconds=at))
                for (name, labels), value in samples
            )
            store.flush()
            current = store.newest
            newest = newest if current is None else round(current.timestamp() * 1000)
        elif what == "checkpoint" and newest > 0:
            store.checkpoint()
            sealed = newest - 100_000
        elif what == "restart":
            store.close()
            store = opened(folder)
            assert store.recovery.damage == ()
        # Ageing by itself seals as well: what the store refuses from then on is counted, not modelled.
        sealed = max([sealed, *(table.sealed for table in store._tables.values())])
        low = newest - 400_000
        expected = {key: {at: v for at, v in points.items() if at > low} for key, points in model.items()}
        assert equal(held(store, low), {key: points for key, points in expected.items() if points})
    store.close()


def opened(folder: Path) -> Store:
    return Store.open(folder, raw=100, retention=400)


def test_a_marker_is_a_marker_on_disk(tmp_path: Path) -> None:
    """The staleness marker keeps its bits through journal, snapshot and chunk."""
    for seconds in (0, 200, 500):
        store = Store.open(tmp_path, raw=100)
        store.append([Sample(name="m", value=STALE, at=EPOCH + timedelta(seconds=seconds))])
        store.flush()
        store.checkpoint()
        store.close()
    store = Store.open(tmp_path, raw=100)
    (points,) = held(store, -(10**15)).values()
    assert [is_stale(value) for value in points.values()] == [True, True, True]
    store.close()
