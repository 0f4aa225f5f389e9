"""A disk that is full under state, series and logs: alerting goes on, and nothing is said twice afterwards."""

from __future__ import annotations

import resource

import pytest

from tocsin.testing.slack import FakeSlack
from tocsin.testing.waiting import eventually

from .conftest import DaemonProcess, Target

NOTHING = 1024
"""Bytes that a file may have: less than any of ours has by then."""


def fill(pid: int) -> None:
    """From now on no file of the process may grow, as on a full disk (its writes fail with EFBIG)."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (NOTHING, resource.RLIM_INFINITY))


def make_room(pid: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


async def test_a_full_disk_delays_no_page(daemon: DaemonProcess, slack: FakeSlack, target: Target) -> None:
    """The fault comes while nothing can be written: it is told, once, and its end too when there is room again."""
    if not hasattr(resource, "prlimit"):
        pytest.skip("needs prlimit (Linux) to make another process' disk full")
    await daemon.start()
    await eventually(lambda: len(daemon.log("source.seen")) == 1)
    fill(daemon.pid)
    target.status = 500
    await eventually(lambda: len(slack.posted()) == 1)
    target.status = 200
    make_room(daemon.pid)
    await eventually(lambda: len(slack.thread(slack.posted()[0])) >= 1)
    assert len(slack.posted()) == 1


async def test_what_fired_before_the_disk_was_full_is_not_lost(
    daemon: DaemonProcess, slack: FakeSlack, target: Target
) -> None:
    """It ends while nothing can be written, and its end is told when there is room again, also after a kill -9."""
    await daemon.start()
    target.status = 500
    await eventually(lambda: len(slack.posted()) == 1)
    await eventually(lambda: len(daemon.log("delivery.delivered")) >= 1)
    fill(daemon.pid)
    target.status = 200
    await daemon.kill()
    await daemon.start()
    await eventually(lambda: len(slack.thread(slack.posted()[0])) >= 1)
    assert len(slack.posted()) == 1
