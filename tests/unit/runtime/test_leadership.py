"""What a replica may do: while its lease holds by its own clock, and not a moment longer."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tocsin.errors import StateError, Unavailable
from tocsin.runtime.leadership import LAST_RESORT, Leadership, Standing, from_memory
from tocsin.state.lease import Beat, Lease, Me
from tocsin.telemetry.metrics import Telemetry
from tocsin.testing.clock import START as NOW

LEASE = 10.0


@dataclass
class Store:
    """Answers beats as a test says."""

    epoch: int | None = 1
    others: int = 1
    away: bool = False
    beats: list[int | None] = field(default_factory=list)

    async def beat(self, me: Me, epoch: int | None) -> Beat:
        self.beats.append(epoch)
        if self.away:
            raise StateError("Postgres is away")
        lease = Lease(epoch=self.epoch or 7, holder="x", address="", since=NOW, remaining=LEASE)
        return Beat(lease=lease, epoch=self.epoch, took_over=False, without=0.0, others=self.others)


@dataclass
class Stage:
    store: Store
    telemetry: Telemetry
    leadership: Leadership
    at: float = 1000.0

    async def beat(self) -> None:
        await self.leadership._beat(self.store)  # type: ignore[arg-type]

    def figures(self) -> tuple[float | None, ...]:
        value = self.telemetry.registry.get_sample_value
        return tuple(value(f"tocsin_leader{name}") for name in ("", "_known", "_epoch"))


def stage(store: Store | None = None) -> Stage:
    made = Stage(store or Store(), Telemetry(), None)  # type: ignore[arg-type]
    made.leadership = Leadership(
        telemetry=made.telemetry, leases=made.store, me=Me(name="me"), seconds=LEASE, elapsed=lambda: made.at,  # type: ignore[arg-type]
    )  # fmt: skip
    return made


async def test_it_sends_while_the_lease_holds_with_a_margin() -> None:
    """A tenth of the lease before its end it is over, whether a beat says so or not."""
    here = stage()
    assert here.leadership.standing is Standing.FOLLOWS
    await here.beat()
    here.at += 8.9
    here.leadership.permit()
    here.at += 0.2
    assert here.leadership.standing is Standing.CUT_OFF
    with pytest.raises(Unavailable, match="does not lead"):
        here.leadership.permit()


async def test_a_process_that_was_stopped_sends_nothing_when_it_goes_on() -> None:
    """The clock went on without it: no beat is needed to know."""
    here = stage()
    await here.beat()
    here.at += 3600
    with pytest.raises(Unavailable):
        here.leadership.permit()
    assert not here.leadership.speaks_from_memory(since=1000.0)


async def test_a_beat_that_took_long_counts_from_its_begin() -> None:
    """Postgres may have written the lease at once and answered late."""
    here = stage()
    slow = here.store.beat

    async def late(me: Me, epoch: int | None) -> Beat:
        answer = await slow(me, epoch)
        here.at += 9.5
        return answer

    here.store.beat = late  # type: ignore[method-assign]
    await here.beat()
    assert here.leadership.standing is Standing.CUT_OFF


async def test_cut_off_and_found_again_it_goes_on_with_its_epoch() -> None:
    """Nobody took over meanwhile."""
    here = stage()
    await here.beat()
    here.store.away = True
    here.at += 20
    await here.beat()
    assert (here.leadership.standing, here.leadership.epoch) == (Standing.CUT_OFF, 1)
    here.store.away = False
    await here.beat()
    assert (here.leadership.standing, here.store.beats) == (Standing.LEADS, [None, 1, 1])


async def test_one_that_was_deposed_follows() -> None:
    """And says so at once to whoever waits for a change."""
    here = stage()
    await here.beat()
    here.leadership.changed.clear()
    here.store.epoch = None
    await here.beat()
    assert (here.leadership.standing, here.leadership.epoch) == (Standing.FOLLOWS, None)
    assert here.leadership.changed.is_set()


async def test_the_gauges_say_who_leads() -> None:
    """(leads, knows of a leader, epoch) of a leader, one cut off, a follower, and one whose leader is gone."""
    here = stage()
    await here.beat()
    found = [here.figures()]
    here.at += 20
    here.store.away = True
    await here.beat()
    here.leadership._tell()
    found.append(here.figures())
    here.store.away, here.store.epoch = False, None
    await here.beat()
    found.append(here.figures())
    here.at += 20
    here.leadership._tell()
    found.append(here.figures())
    assert found == [(1, 1, 1), (0, 0, 1), (0, 1, 7), (0, 0, 7)]


async def test_from_memory_a_leader_that_is_alone_speaks_at_once_and_others_after_a_minute() -> None:
    """Another replica may have taken over, and tell the same; when the store is away for long, twice beats never."""
    spoke = {}
    for others in (0, 1):
        here = stage(Store(others=others))
        await here.beat()
        here.store.away = True
        moments = []
        for _ in range(8):
            here.at += LAST_RESORT / 6
            await here.beat()
            moments.append(here.leadership.speaks_from_memory(since=1000.0))
        spoke[others] = moments
    assert spoke == {0: [True] * 8, 1: [False] * 6 + [True] * 2}


async def test_from_memory_means_past_the_permit() -> None:
    """The lifeboat has asked another question."""
    here = stage()
    token = from_memory.set(True)
    try:
        here.leadership.permit()
    finally:
        from_memory.reset(token)


def test_on_sqlite_the_one_daemon_leads() -> None:
    """Nothing to ask, nothing to lose."""
    alone = Leadership(telemetry=Telemetry())
    alone.permit()
    assert (alone.standing, alone.speaks_from_memory(since=0.0)) == (Standing.LEADS, True)
