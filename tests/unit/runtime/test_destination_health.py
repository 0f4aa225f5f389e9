"""Destinations are asked before an alert needs them."""

from __future__ import annotations

import asyncio

import pytest

from tocsin.errors import Refused
from tocsin.model import Notification, Receipt
from tocsin.ports import Health
from tocsin.runtime.courier import Endpoint
from tocsin.runtime.health import EVERY, watch_destinations
from tocsin.telemetry.metrics import Telemetry
from tocsin.testing.clock import VirtualClock


class Asked:
    """A notifier that answers `check` from a list, the last answer for ever."""

    def __init__(self, *answers: Health | Exception) -> None:
        self.answers = list(answers)

    async def check(self) -> Health:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def send(self, notification: Notification, parent: Receipt | None) -> Receipt:
        raise AssertionError("a health check sends nothing")

    async def find(self, notification: Notification, parent: Receipt | None) -> Receipt | None:
        raise AssertionError("a health check reads nothing back")

    async def close(self) -> None:
        pass


WELL = Health(ok=True, what="posts to #alerts")
ILL = Health(ok=False, what="not_in_channel", mend="/invite @tocsin")


@pytest.mark.parametrize(
    ("answers", "up"),
    [((WELL,), [1.0, 1.0]), ((ILL, WELL), [0.0, 1.0]), ((Refused("invalid_auth"), ILL), [0.0, 0.0])],
)
async def test_the_gauge_follows_what_the_destination_says(
    answers: tuple[Health | Exception, ...], up: list[float]
) -> None:
    """At the start, and again ten minutes later; one that raises is not healthy and ends nothing."""
    clock, telemetry = VirtualClock(), Telemetry()
    endpoint = Endpoint(name="pages", notifier=Asked(*answers))
    task = asyncio.create_task(watch_destinations(lambda: [endpoint], clock=clock, telemetry=telemetry))
    seen = []
    for _ in up:
        await clock.advance(1)
        seen.append(telemetry.registry.get_sample_value("tocsin_notifier_up", {"notifier": "pages"}))
        await clock.advance(EVERY)
    task.cancel()
    assert seen == up
