"""Series of the costliest statements: stable, and true in sum."""

from __future__ import annotations

from datetime import UTC, datetime

from collectors.postgres.moments import Moments
from collectors.postgres.statements import Costliest, Figures, Identity, Row, Snapshot, columns_for, suspects

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def row(calls: float, seconds: float) -> Row:
    mean = seconds / calls if calls else 0.0
    figures = Figures(calls, seconds, calls, 0, 0)
    moments = Moments(calls=int(calls), total=seconds, mean=mean, stddev=0.0, maximum=mean)
    return Row(usename="app", datname="shop", figures=figures, moments=moments)


def shot(**seconds: float) -> Snapshot:
    """Statements named q1, q2, … with these totals."""
    return {Identity(1, 1, int(name[1:]), True): row(10 * total, total) for name, total in seconds.items()}


def told(costliest: Costliest) -> dict[str, float]:
    """Seconds by query id."""
    samples = costliest.samples(NOW)
    return {s.labels["queryid"]: s.value for s in samples if s.name == "pg_stat_statements_seconds_total"}


def test_the_costliest_have_series_and_the_rest_is_other() -> None:
    """Two of three have their own; nothing is lost from the sum."""
    costliest = Costliest(top=2)
    costliest.take(shot(q1=0, q2=0, q3=0), shot(q1=5, q2=3, q3=1), NOW)
    assert told(costliest) == {"1": 5, "2": 3, "other": 1}


def test_a_slightly_costlier_one_does_not_take_the_place() -> None:
    """Without hysteresis two statements of like cost would change places at every poll."""
    costliest = Costliest(top=1)
    costliest.take(shot(q1=0, q2=0), shot(q1=5, q2=4), NOW)
    costliest.take(shot(q1=5, q2=4), shot(q1=9, q2=10), NOW)
    assert told(costliest) == {"1": 9, "other": 10}


def test_a_clearly_costlier_one_does() -> None:
    """It enters with what it cost since; what it cost before stays in other."""
    costliest = Costliest(top=1)
    costliest.take(shot(q1=0, q2=0), shot(q1=5, q2=4), NOW)
    costliest.take(shot(q1=5, q2=4), shot(q1=6, q2=54), NOW)
    assert told(costliest) == {"2": 50, "other": 5}


def test_a_reset_counts_what_came_after() -> None:
    """Figures that went back are all new."""
    costliest = Costliest(top=1)
    costliest.take(shot(q1=100), shot(q1=2), NOW)
    assert told(costliest) == {"1": 2}


def test_only_what_ran_is_suspected() -> None:
    """A statement whose count stands still did nothing."""
    found = suspects(shot(q1=1, q2=1), shot(q1=1, q2=3), threshold=1.0)
    assert [suspect.query_id for suspect in found] == [2]


def test_the_columns_are_those_the_extension_has() -> None:
    """1.11 (17) renamed the block times; 1.8 lacks toplevel. The server's version would not tell."""
    newest = ["toplevel", "total_exec_time", "shared_blk_read_time", "local_blk_read_time", "shared_blk_write_time"]
    old = columns_for(["total_exec_time", "blk_read_time", "blk_write_time"], "extensions")
    assert (columns_for(newest, "public")["block_read"], old["block_read"], old["toplevel"], old["schema"]) == (
        "statement.shared_blk_read_time + statement.local_blk_read_time",
        "statement.blk_read_time",
        "null::boolean",
        "extensions",
    )
