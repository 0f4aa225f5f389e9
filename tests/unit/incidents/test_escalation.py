"""Nobody acknowledges: who is told when, with the configuration that Tocsin prints as its example."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.config import load_config, plan_of
from tocsin.incidents import Plan
from tocsin.testing.world import World

MINUTE = 60.0


@pytest.fixture
def example(tmp_path: Path, root: Path) -> Plan:
    file = tmp_path / "config.yaml"
    file.write_text((root / "tocsin" / "config" / "example.yaml").read_text())
    return plan_of(load_config(file, {"DATABASE_URL": "postgresql://h/d", "SLACK_BOT_TOKEN": "xoxb-1"}))


def heard(world: World) -> list[tuple[str, str]]:
    """What rang: (action, why)."""
    said = world.channels["slack-pages"].said
    return [(each.action.value, each.text) for each in said if each.action.value != "edit"]


async def test_p0_goes_to_the_backup_after_5_minutes_and_to_the_manager_after_15(tmp_path: Path, example: Plan) -> None:
    """And is repeated each hour; all of it only until somebody takes it."""
    world = await World.open(tmp_path / "state.db", example)
    await world.fires("ApiDown", "P0", service="api")
    await world.delivers()
    expected = [("post", "new P0 of route pages")]
    for minutes, more in (
        (4.9, []),
        (0.1, [("escalate", "nobody has acked in 5m: backup")]),
        (9.9, []),
        (0.1, [("escalate", "nobody has acked in 15m: manager")]),
        (44.9, []),
        (0.1, [("remind", "fires for 1h and nobody has acked")]),
    ):
        await world.passes(minutes * MINUTE, every=6)
        expected += more
        assert heard(world) == expected
    await world.acks()
    await world.passes(180 * MINUTE, every=60)
    assert heard(world) == expected
    await world.closes()


async def test_p1_goes_to_the_backup_after_30_minutes(tmp_path: Path, example: Plan) -> None:
    """Through a restart in between; one that was taken goes to nobody."""
    world = await World.open(tmp_path / "state.db", example)
    await world.fires("ApiSlow", "P1", service="taken")
    await world.delivers()
    await world.acks()
    await world.fires("ApiSlow", "P1", service="api")
    await world.passes(20 * MINUTE, every=60)
    await world.crashes()
    await world.restarts()
    await world.passes(9.9 * MINUTE, every=6)
    assert [action for action, _ in heard(world)] == ["post", "post"]
    await world.passes(0.1 * MINUTE, every=6)
    assert heard(world)[2:] == [("escalate", "nobody has acked in 30m: backup")]
    await world.passes(240 * MINUTE, every=60)
    assert len(heard(world)) == 3
    await world.closes()
