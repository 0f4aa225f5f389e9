"""Fixtures that every test may use."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

from tests.net import pytest_runtest_teardown  # noqa: F401 (a hook)
from tests.spread import spread
from tocsin.testing.peers import PeerMissing, peer

ROOT = Path(__file__).resolve().parents[1]

# A machine that is busy for a moment is no finding. In CI hypothesis' own profile lies below: the same cases each time.
settings.register_profile("suite", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Each of xdist's workers collects all the tests, most of it in pytest's own code, which coverage's tracer slows by
    two thirds. What a module runs when it is imported is the same in each: the first worker's trace of it is enough.
    What is collected stays until the end, so the garbage collector need not look at it again and again."""
    tracer = sys.gettrace()
    if os.environ.get("PYTEST_XDIST_WORKER", "gw0") != "gw0":
        sys.settrace(None)
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        sys.settrace(tracer)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Random cases run untraced: tracing triples their time, and coverage is to tell what the examples show."""
    for item in items:
        if is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.untraced)
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        items[:] = spread(items, workers)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """`untraced` tests run without coverage's tracer. (pytest-cov's own `no_cover` has no effect in xdist's workers:
    there the tracer of a second, outer Coverage comes back.)"""
    if item.get_closest_marker("untraced") is None:
        return (yield)
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Prometheus' own test data, which lies beside the checkout and not in it."""
    folder = ROOT.parent / "shared" / "corpus"
    if not folder.is_dir():
        pytest.skip("the shared corpus (../shared/corpus: Prometheus' own test data) is not beside this checkout")
    return folder


@pytest.fixture(scope="session")
def real_peer() -> Callable[[str], Path]:
    """`real_peer("promtool")`: the program's path; skips where Debian's packages can't be had."""

    def find(program: str) -> Path:
        try:
            return peer(program)
        except PeerMissing as missing:
            if os.environ.get("TOCSIN_PEERS") == "required":
                raise
            pytest.skip(f"{program}: {missing}")

    return find
