"""What lies below a test that hangs: pytest-timeout, below it faulthandler's timer (pyproject.toml), and this."""

from __future__ import annotations

import faulthandler
from collections.abc import Generator

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Both lay their timers down when a test fails, for a debugger, and what comes after may hang all the same: the end
    of asyncio's runner waits for a task that a failed test left behind and that does not hear its cancellation. Then
    the worker ends, and another goes on."""
    seconds = float(item.config.getini("faulthandler_timeout") or 0)
    if seconds:
        stderr = item.config.stash.get(fault_handler_stderr_fd_key, 2)
        faulthandler.dump_traceback_later(seconds, file=stderr, exit=True)  # pytest takes it away with the test's end
    return (yield)
