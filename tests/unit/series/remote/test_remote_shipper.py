"""Shipping to a receiver that answers as it likes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tocsin.model import STALE, Labels, Sample, is_stale, utc
from tocsin.runtime.clock import SteadyClock
from tocsin.series import Store
from tocsin.series.remote.position import Split
from tocsin.series.remote.shipper import Destination, Shipper
from tocsin.telemetry.metrics import Telemetry
from tocsin.testing.waiting import PATIENCE, eventually


class Sender:
    """A store whose appends are shipped."""

    def __init__(self, url: str, folder: Path, **more: Any) -> None:
        self.telemetry = Telemetry()
        destination = Destination(name="vm", url=url, linger=0.0, **more)
        self.shipper = Shipper(
            destination, folder, clock=SteadyClock(), telemetry=self.telemetry, chance=Random(1),
            external_labels=Labels(cluster="eu"),
        )  # fmt: skip
        self.store = Store()
        self.store.appended = self.shipper.take

    def polls(self, at: float, value: float | None = None, series: int = 2) -> None:
        """One sample of each series."""
        self.store.append(
            Sample(name="m", labels=Labels(series=str(each)), value=at if value is None else value, at=utc(at))
            for each in range(series)
        )

    async def settles(self) -> str:
        async with asyncio.timeout(PATIENCE):
            return await self.shipper.settled(self.shipper.mark)

    def count(self, metric: str, **labels: str) -> float:
        wanted = {"destination": "vm", **labels}
        return self.telemetry.registry.get_sample_value(f"tocsin_remote_write_{metric}", wanted) or 0.0


Make = Callable[..., Sender]


@pytest.fixture
async def sender(receiver: Any, tmp_path: Path) -> AsyncIterator[Make]:
    """Makes senders to the receiver; each next one is the same process after a crash."""
    made: list[Sender] = []

    def make(**more: Any) -> Sender:
        made.append(Sender(receiver.url, tmp_path / "queue", **more))
        return made[-1]

    yield make
    for each in made:
        await each.shipper.stop(drain=0)


async def test_each_poll_arrives_with_names_labels_times_and_markers(receiver: Any, sender: Make) -> None:
    """The headers are remote write's, and external labels are added."""
    one = sender(headers={"Authorization": "Bearer t0ken"})
    one.shipper.start()
    one.polls(1000.0)
    one.polls(1001.5, STALE)
    assert await one.settles() == ""
    values = receiver.values(__name__="m", series="0", cluster="eu")
    assert values[0] == 1000.0
    assert is_stale(values[1])
    headers = receiver.headers[0]
    assert headers["X-Prometheus-Remote-Write-Version"] == "0.1.0"
    assert headers["Content-Encoding"] == "snappy"
    assert headers["Content-Type"] == "application/x-protobuf"
    assert headers["Authorization"] == "Bearer t0ken"
    assert headers["User-Agent"].startswith("tocsin/")
    assert one.count("sent_samples_total") == 4
    assert one.count("pending_samples") == 0
    assert one.count("lag_seconds") == 0


async def test_a_new_counter_arrives_with_its_synthetic_zero(receiver: Any, sender: Make) -> None:
    """What the store holds is what the receiver gets: increase() there sees the first burst too."""
    one = sender()
    one.shipper.start()
    one.store.append([Sample(name="c_total", value=7.0, at=utc(1000), created=utc(990))])
    await one.settles()
    assert receiver.values(__name__="c_total") == [0.0, 7.0]


async def test_a_sample_that_the_store_refuses_is_not_sent(receiver: Any, sender: Make) -> None:
    """It would have the receiver refuse its neighbours."""
    one = sender()
    one.shipper.start()
    one.polls(1000.0)
    one.polls(900.0)
    await one.settles()
    assert receiver.values(series="0") == [1000.0]


async def test_retry_after_is_obeyed_and_nothing_is_lost(receiver: Any, sender: Make) -> None:
    """429 means later, in order."""
    receiver.answers = [(429, {"Retry-After": "1"}, "slow down")]
    one = sender()
    one.shipper.start()
    began = asyncio.get_running_loop().time()
    one.polls(1000.0)
    one.polls(1001.0)
    assert await one.settles() == ""
    assert asyncio.get_running_loop().time() - began >= 1.0
    assert receiver.values(series="1") == [1000.0, 1001.0]
    assert one.count("failed_requests_total", kind="throttled") == 1
    assert one.count("dropped_samples_total", reason="refused") == 0


async def test_an_error_of_the_server_is_tried_again(receiver: Any, sender: Make) -> None:
    """5xx is never a reason to drop."""
    receiver.answers = [(500, {}, "boom"), (503, {"Retry-After": "0"}, "")]
    one = sender()
    one.shipper.start()
    one.polls(1000.0)
    assert await one.settles() == ""
    assert receiver.values(series="0") == [1000.0]
    assert one.count("failed_requests_total", kind="http_500") == 1
    assert one.count("failed_requests_total", kind="http_503") == 1


async def test_an_answer_that_is_lost_means_the_same_request_again(receiver: Any, sender: Make) -> None:
    """At least once, in order; what comes again is exactly what was sent."""
    receiver.swallow = 1
    one = sender(split=Split(shards=1, batch=100))
    one.shipper.start()
    one.polls(1000.0)
    assert await one.settles() == ""
    first, second = receiver.requests
    assert first == second


async def test_one_unwelcome_sample_does_not_take_its_neighbours_along(receiver: Any, sender: Make) -> None:
    """It is found by halving, dropped and counted; the rest arrives."""
    unwelcome = ("series", "77")
    receiver.refuses = lambda taken: "out of order" if any(unwelcome in key for key in taken) else ""
    one = sender(split=Split(shards=1, batch=1000))
    one.shipper.start()
    one.polls(1000.0, series=200)
    assert await one.settles() == ""
    assert one.count("dropped_samples_total", reason="refused") == 1
    assert one.count("sent_samples_total") == 199
    assert receiver.values(series="76") == [1000.0]
    assert receiver.values(series="77") == []


async def test_a_receiver_that_wants_none_of_it_is_not_asked_forever(receiver: Any, sender: Make) -> None:
    """A bounded number of requests, then the rest of the request is dropped and counted."""
    receiver.refuses = lambda _: "no"
    one = sender(split=Split(shards=1, batch=1000))
    one.shipper.start()
    one.polls(1000.0, series=500)
    await one.settles()
    assert one.count("dropped_samples_total", reason="refused") == 500
    assert receiver.attempts <= 60


async def test_a_refusal_of_us_is_told_to_whoever_waits(receiver: Any, sender: Make) -> None:
    """401: the samples are not there, so nobody may believe what that server says of them."""
    receiver.answers = [(401, {}, "no such token")]
    one = sender(split=Split(shards=1, batch=1000))
    one.shipper.start()
    one.polls(1000.0)
    assert await one.settles() == "vm refuses samples: http_401 no such token"
    assert one.count("dropped_samples_total", reason="refused") == 2
    mark = one.shipper.mark
    one.polls(1001.0)
    async with asyncio.timeout(PATIENCE):
        assert await one.shipper.settled(one.shipper.mark, after=mark) == ""


async def test_a_dead_receiver_delays_nobody_and_loses_nothing(sender: Make, receiver: Any, tmp_path: Path) -> None:
    """Polls go on; what waits is told in the metrics; a later process delivers it."""
    dead = Sender("http://127.0.0.1:1/write", tmp_path / "queue")
    dead.shipper.start()
    for at in range(1000, 1010):
        dead.polls(float(at))
    await eventually(lambda: dead.count("failed_requests_total", kind="network") >= 1)
    assert dead.count("pending_samples") == 20
    assert dead.count("lag_seconds") > 1e6
    assert "network" in dead.shipper.why
    await dead.shipper.stop(drain=60)
    alive = sender()
    alive.shipper.start()
    assert await alive.settles() == ""
    assert receiver.values(series="0") == [float(at) for at in range(1000, 1010)]


async def test_stopping_delivers_what_waits(receiver: Any, sender: Make) -> None:
    """A receiver that answers gets all of it, lingering or not."""
    one = sender()
    one.shipper.start()
    for at in range(1000, 1050):
        one.polls(float(at))
    await one.shipper.stop(drain=PATIENCE)
    assert receiver.values(series="0") == [float(at) for at in range(1000, 1050)]


async def test_samples_wait_for_company_unless_somebody_waits_for_them(receiver: Any, tmp_path: Path) -> None:
    """`linger` makes few requests of many polls; an evaluation does not wait for it."""
    one = Sender(receiver.url, tmp_path / "queue", split=Split(shards=1, batch=1000))
    patient = Destination(name="vm", url=receiver.url, linger=3600.0, split=Split(shards=1, batch=1000))
    one.shipper.destination = patient
    one.shipper.start()
    for at in range(1000, 1020):
        one.polls(float(at))
        await asyncio.sleep(0)
    assert receiver.attempts == 0
    assert await one.settles() == ""
    assert receiver.attempts == 1
    await one.shipper.stop(drain=PATIENCE)
