"""Which worker runs what: tests that start processes come first, and not all at the same worker.

pytest-xdist gives each worker an equal run of the collected tests and lets idle ones steal from the end of another's.
In the order of the folders one worker had all the daemons, and the last of them ran alone at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import pytest

FIRST = ("tests/e2e/", "tests/faults/", "tests/docs/")
"""Where a test mostly waits for processes of its own."""


def spread(items: Sequence[pytest.Item], workers: int) -> list[pytest.Item]:
    """The same tests, module by module: `workers` runs of about equal length, the slow modules first in each."""
    modules = [list(tests) for _, tests in groupby(items, key=lambda item: item.nodeid.partition("::")[0])]
    slow = [module for module in modules if module[0].nodeid.startswith(FIRST)]
    quick = [module for module in modules if not module[0].nodeid.startswith(FIRST)]
    runs: list[list[pytest.Item]] = [[] for _ in range(workers)]
    for module in sorted(slow, key=len, reverse=True):
        min(runs, key=len).extend(module)
    for module in quick:
        min(runs, key=len).extend(module)
    return [item for run in runs for item in run]
