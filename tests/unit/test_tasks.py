"""A task that is to end does, whatever the moment; and a test that hangs is a failure with a name."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tocsin.tasks import end_tasks, within


@pytest.mark.parametrize("turns", range(4))
async def test_a_cancellation_that_was_lost_is_repeated(turns: int) -> None:
    """One that comes in the turn of the loop in which what is waited for comes as well: Python 3.11's wait_for, and so
    psycopg, gives the result and says nothing of it."""
    news = asyncio.Event()

    async def work() -> None:
        while True:
            news.clear()
            await asyncio.wait_for(news.wait(), 600)  # noqa: TID251 (what is shown)

    task = asyncio.ensure_future(work())
    await asyncio.sleep(0.01)
    news.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    assert await end_tasks(task) == []
    assert task.cancelled()


async def test_what_swallows_it_a_few_times_ends_all_the_same() -> None:
    """And holds up none of the others."""
    swallowed = []

    async def stubborn() -> None:
        while len(swallowed) < 2:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                swallowed.append(1)

    tasks = [asyncio.ensure_future(stubborn()), asyncio.ensure_future(asyncio.sleep(600))]
    await asyncio.sleep(0)
    assert await end_tasks(*tasks) == []
    assert [task.cancelled() for task in tasks] == [False, True]


async def test_errors_are_given_and_results_are_not() -> None:
    """In the order of the tasks; one that was done before counts as well."""

    async def breaks(error: Exception) -> None:
        raise error

    async def breaks_at_its_end(error: Exception) -> None:
        try:
            await asyncio.sleep(600)
        finally:
            raise error

    first, second = ValueError("1"), OSError("2")
    done = asyncio.ensure_future(breaks(first))
    await asyncio.wait({done})
    tasks = [asyncio.ensure_future(breaks_at_its_end(second)), done, asyncio.ensure_future(asyncio.sleep(0))]
    await asyncio.sleep(0.01)
    assert await end_tasks(*tasks) == [second, first]


async def test_nothing_to_end_is_no_wait() -> None:
    """As where a part was never started."""
    assert await end_tasks() == []


async def test_what_takes_longer_than_it_may_is_cancelled_and_left_behind() -> None:
    """Also where it makes nothing of that; the caller goes on."""
    released = asyncio.Event()

    async def deaf() -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    stubborn, willing = asyncio.ensure_future(deaf()), asyncio.ensure_future(asyncio.sleep(600))
    try:
        assert [await within(0.0, stubborn), await within(0.0, willing)] == [False, False]
        assert [stubborn.done(), willing.cancelled()] == [False, True]
    finally:
        released.set()
        await stubborn


async def test_what_ends_in_time_is_as_if_awaited() -> None:
    """Its error too."""

    async def breaks() -> None:
        raise ValueError("no")

    assert await within(60.0, asyncio.sleep(0)) is True
    with pytest.raises(ValueError, match="no"):
        await within(60.0, breaks())


HANGS = """
import threading, time

import pytest


@pytest.fixture
def late():
    yield
    threading.Event().wait()


def test_whose_fixture_does_not_end(late): ...


async def test_that_waits():
    import asyncio
    await asyncio.Event().wait()


def test_that_stops_at_nothing():
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass


async def test_that_fails_and_leaves_a_deaf_task():
    import asyncio

    async def deaf():
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass

    left = asyncio.ensure_future(deaf())
    await asyncio.sleep(0)
    assert left.done()


@pytest.mark.parametrize("number", range(4))
def test_another(number): ...
"""


def test_a_test_that_hangs_fails_by_name_and_the_others_go_on(tmp_path: Path, root: Path) -> None:
    """In the call, in a fixture's end, where no signal gets through, and after it has failed."""
    (tmp_path / "test_hangs.py").write_text(HANGS)
    limits = ["--timeout", "4", "-o", "faulthandler_timeout=9"]
    plugins = ["-p", "xdist.plugin", "-p", "pytest_asyncio.plugin", "-p", "pytest_timeout", "-p", "tests.net"]
    plugins += ["-p", "no:cacheprovider"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "2", "--dist", "worksteal", "-c", str(root / "pyproject.toml"),
         "--rootdir", str(tmp_path), *plugins, *limits, str(tmp_path)],
        # Three starts of Python with all plug-ins take 8 s.
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(root)},
        cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "test_whose_fixture_does_not_end - Failed: Timeout" in ran.stdout
    assert "test_that_waits - Failed: Timeout" in ran.stdout
    assert "crashed while running 'test_hangs.py::test_that_stops_at_nothing'" in ran.stdout
    assert "crashed while running 'test_hangs.py::test_that_fails_and_leaves_a_deaf_task'" in ran.stdout
    assert "5 passed" in ran.stdout  # the four, and the one whose fixture hung afterwards
