"""The wall clock jumps, by hours and both ways: what fires is told once and at once, and so is its end."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tocsin.testing.slack import FakeSlack
from tocsin.testing.waiting import eventually

from .conftest import DaemonProcess, Target, config_of

HOUR = 3600


@dataclass
class WallClock:
    """What the daemon takes for the machine's clock (libfaketime, which looks each second); the monotonic is real."""

    file: Path

    def set(self, seconds: int) -> None:
        """So far from the real time, from the next reading on."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self.file)


@pytest.fixture
def wall(daemon: DaemonProcess, slack: FakeSlack, target: Target, real_peer: Callable[[str], Path]) -> WallClock:
    config = config_of(slack, target)
    config["collectors"][0]["targets"].append({"url": f"{target.url}other", "service": "bank"})
    (daemon.folder / "config.yaml").write_text(json.dumps(config))
    clock = WallClock(daemon.folder / "offset")
    clock.set(0)
    daemon.env |= {
        "LD_PRELOAD": os.fspath(real_peer("libfaketime")),
        "FAKETIME_TIMESTAMP_FILE": os.fspath(clock.file),
        "FAKETIME_CACHE_DURATION": "1",
        "NO_FAKE_STAT": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    return clock


def ended(slack: FakeSlack) -> int:
    """Messages whose end was told in their thread."""
    return sum(1 for message in slack.posted() if slack.thread(message))


@pytest.mark.parametrize("hours", [2, -2])
async def test_it_jumps_under_a_running_daemon(
    daemon: DaemonProcess, slack: FakeSlack, target: Target, wall: WallClock, hours: int
) -> None:
    """What fires goes on firing, its end and the next fault are told as ever."""
    await daemon.start()
    target.status = 500
    await eventually(lambda: len(slack.posted()) == 1)
    wall.set(hours * HOUR)
    seen = target.asked
    await eventually(lambda: target.asked > seen + 5)
    assert (len(slack.posted()), ended(slack)) == (1, 0)
    target.status = 200
    await eventually(lambda: ended(slack) == 1)
    target.other = 500
    await eventually(lambda: len(slack.posted()) == 2)


async def test_it_was_set_back_while_the_daemon_was_dead(
    daemon: DaemonProcess, slack: FakeSlack, target: Target, wall: WallClock
) -> None:
    """Its rows and samples are of hours to come: nothing is said again, and what comes is told."""
    await daemon.start()
    target.status = 500
    await eventually(lambda: len(slack.posted()) == 1)
    await eventually(lambda: len(daemon.log("delivery.delivered")) >= 1)
    await daemon.kill()
    wall.set(-2 * HOUR)
    await daemon.start()
    seen = target.asked
    await eventually(lambda: target.asked > seen + 5)
    assert (len(slack.posted()), ended(slack)) == (1, 0)
    target.status = 200
    await eventually(lambda: ended(slack) == 1)
    target.other = 500
    await eventually(lambda: len(slack.posted()) == 2)
