"""The daemon ends before whoever started it loses patience."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tocsin.app import daemon
from tocsin.runtime.leaving import LIMIT, TELLING
from tocsin.tasks import AGAIN
from tocsin.telemetry.tracing import PATIENCE_SECONDS
from tocsin.web.server import Server


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("deploy/tocsin.service", r"^TimeoutStopSec=(\d+)$"),
        ("deploy/Containerfile", r"--stop-timeout (\d+) tocsin$"),
        ("examples/campaigns/deploy/compose.yaml", r"^  tocsin:\n(?:    .*\n)*?    stop_grace_period: (\d+)s$"),
    ],
)
def test_it_has_ended_before_it_is_killed(root: Path, file: str, pattern: str) -> None:
    """With the line that says what held it up."""
    found = re.search(pattern, (root / file).read_text(), re.MULTILINE)
    assert found is not None
    assert int(found[1]) > LIMIT + TELLING


def test_every_part_of_the_end_has_its_turn() -> None:
    """Though each before it takes all the time that it may, and is left behind."""
    left = [daemon.DRAIN_LIMIT, Server.patience, daemon.CLOSE_LIMIT, daemon.CLOSE_LIMIT]
    assert sum(left) + len(left) * AGAIN + PATIENCE_SECONDS < LIMIT
