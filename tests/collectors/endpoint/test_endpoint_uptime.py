"""Uptime over days, and the objective: kept across restarts, by the hour."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from collectors.endpoint import SPEC
from collectors.endpoint.uptime import HOUR, Uptime

from .conftest import AT, Endpoints, polled

NOW = AT.timestamp()


def ratios(uptime: Uptime, at: float = NOW) -> dict[str, float]:
    return dict(uptime.ratios("shop", at))


def kept(blob: bytes | None) -> dict[str, list[list[int]]]:
    """A checkpoint: instance → [hour, probes, failures] of each hour."""
    rows = json.loads(zlib.decompress(blob or b""))
    return {name: [row[at : at + 3] for at in range(0, len(row), 3)] for name, row in rows.items()}


def test_uptime_is_the_share_of_the_probes_that_were_up() -> None:
    """Each window by its own hours."""
    uptime = Uptime()
    for hours_ago, up in ((0, True), (1, False), (30, False), (100, True), (200, False)):
        uptime.add("shop", NOW - hours_ago * HOUR, up=up)
    assert ratios(uptime) == {"1d": 1 / 2, "3d": 1 / 3, "7d": 2 / 4, "30d": pytest.approx(2 / 5)}


def test_nothing_is_said_of_what_was_not_looked_at() -> None:
    """Unknown is neither up nor down."""
    uptime = Uptime()
    uptime.add("shop", NOW - 50 * HOUR, up=True)
    assert ratios(uptime) == {"3d": 1.0, "7d": 1.0, "30d": 1.0}
    assert dict(uptime.ratios("other", NOW)) == {}


def test_a_month_of_hours_is_kept_and_no_more() -> None:
    """However long the daemon runs."""
    uptime = Uptime()
    for hour in range(2000):
        uptime.add("shop", NOW + hour * HOUR, up=False)
    assert len(kept(uptime.dump())["shop"]) == 720


def test_an_hour_that_ends_moves_the_windows() -> None:
    """What was summed for one hour is summed anew in the next, and what is counted meanwhile shows at once."""
    uptime = Uptime()
    uptime.add("shop", NOW, up=False)
    assert ratios(uptime)["1d"] == 0.0
    uptime.add("shop", NOW, up=True)
    assert ratios(uptime)["1d"] == 1 / 2
    assert ratios(uptime, NOW + HOUR)["1d"] == 1 / 2
    uptime.add("shop", NOW + HOUR, up=True)
    assert ratios(uptime, NOW + HOUR)["1d"] == pytest.approx(2 / 3)
    assert ratios(uptime, NOW + 24 * HOUR) == {"1d": 1.0, "3d": pytest.approx(2 / 3)} | {
        window: pytest.approx(2 / 3) for window in ("7d", "30d")
    }


@pytest.mark.parametrize(
    "blob",
    [None, b"", b"no json", *map(zlib.compress, (b"[]", b'{"shop": 3}', b'{"shop": [1]}', b'{"shop": ["a",1,2]}'))],
)
def test_what_can_not_be_read_begins_anew(blob: bytes | None) -> None:
    """A checkpoint of another version stops nothing."""
    assert ratios(Uptime.read(blob)) == {}


def test_a_clock_set_back_counts_nothing_of_the_future() -> None:
    """The hours ahead wait until they have come."""
    uptime = Uptime()
    uptime.add("shop", NOW + 5 * HOUR, up=False)
    uptime.add("shop", NOW, up=True)
    assert ratios(uptime)["1d"] == 1.0


async def test_uptime_outlives_a_restart_and_a_target_that_is_gone_is_forgotten(endpoints: Endpoints) -> None:
    """Closed and made anew with the same checkpoint; the objective is a series beside it."""

    async def broken(_: web.Request) -> web.Response:
        return web.Response(status=500)

    target = {"url": await endpoints.serve(broken), "name": "shop", "slo": 99.9}
    first = endpoints.collector(target, {**target, "name": "gone"})
    await polled(first)
    await first.close()
    second = endpoints.collector(target)
    seen = await polled(second, AT + timedelta(hours=30))
    assert seen.value("tocsin_endpoint_uptime_ratio", window="3d") == 0.0
    assert seen.value("tocsin_endpoint_slo_ratio", instance="shop") == 0.999
    assert list(kept(endpoints.memory.blob)) == ["shop"]
    assert sum(total for _, total, _ in kept(endpoints.memory.blob)["shop"]) == 2


@pytest.mark.parametrize("slo", [100, 0.999, 12])
def test_an_objective_is_a_percentage_that_can_be_missed(slo: float) -> None:
    """0.999 is meant as 99.9, and 100 leaves no budget to burn."""
    target: dict[str, Any] = {"url": "http://127.0.0.1/", "slo": slo}
    read: Callable[[Any], Any] = SPEC.settings.model_validate
    with pytest.raises(ValidationError, match="slo"):
        read({"kind": "endpoint", "name": "web", "targets": [target]})
