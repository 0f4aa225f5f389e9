"""What a role can't see, and the command that mends it."""

from __future__ import annotations

from typing import Any

import pytest

from collectors.postgres.doctor import CAPABILITIES, blind_spots, gaps
from collectors.postgres.groups import load_groups

FINE: dict[str, Any] = {
    "role": "watcher", "database": "shop", "activity": True, "track_activities": True, "wal_directory": True,
    "database_sizes": True, "statements_schema": "extensions", "statements_usage": True, "statements_track": "top",
    "statements_utility": True, "query_ids": True, "io_timing": True, "hidden_sequences": 0,
    "reserved_connections": True,
}  # fmt: skip


def test_a_role_with_everything_has_no_gap() -> None:
    """Nothing to mend, nothing to say."""
    assert gaps(FINE, 16) == ()


@pytest.mark.parametrize(
    ("facts", "capability", "mend"),
    [
        ({"activity": False}, "activity", "GRANT pg_monitor TO watcher;"),
        ({"activity": False, "role": "Odd Name"}, "activity", 'GRANT pg_monitor TO "Odd Name";'),
        ({"track_activities": False}, "activity", "ALTER SYSTEM SET track_activities = on"),
        ({"statements_schema": None}, "statements", "CREATE EXTENSION pg_stat_statements;"),
        ({"statements_track": None}, "statements", "shared_preload_libraries"),
        ({"statements_track": "none"}, "statements", "pg_stat_statements.track = 'top'"),
        ({"statements_usage": False}, "statements", "GRANT USAGE ON SCHEMA extensions TO watcher;"),
        ({"wal_directory": False}, "wal_directory", "GRANT pg_monitor"),
        ({"database_sizes": False}, "database_sizes", "GRANT pg_monitor"),
        ({"hidden_sequences": 3}, "sequences", "GRANT SELECT ON ALL SEQUENCES"),
        ({"reserved_connections": False}, "reserved_connections", "GRANT pg_use_reserved_connections TO watcher;"),
        ({"query_ids": False}, "query_ids", "compute_query_id"),
        ({"io_timing": False}, "io_timing", "track_io_timing"),
    ],
)
def test_each_gap_names_its_remedy(facts: dict[str, Any], capability: str, mend: str) -> None:
    """An operator can paste what mends it."""
    found = {gap.capability: gap.mend for gap in gaps({**FINE, **facts}, 16)}
    assert mend in found[capability]


def test_a_gap_blinds_the_metrics_that_need_it() -> None:
    """Without pg_monitor other sessions' queries are NULL: no slow query would be seen, so nobody may think so."""
    (spot,) = [
        spot for spot in blind_spots(gaps({**FINE, "activity": False}, 16), load_groups()) if "sessions" in spot.why
    ]
    assert {"tocsin_pg_slow_queries_total", "pg_stat_activity_count", "tocsin_pg_blocked_sessions"} <= spot.metrics


def test_advice_blinds_nothing() -> None:
    """A setting that would only tell more freezes no alert."""
    facts = {**FINE, "io_timing": False, "query_ids": False, "reserved_connections": False, "hidden_sequences": 2}
    assert list(blind_spots(gaps(facts, 16), load_groups())) == []


def test_reserved_slots_are_no_advice_before_16() -> None:
    """The role does not exist there."""
    assert gaps({**FINE, "reserved_connections": False}, 15) == ()


def test_every_group_needs_a_capability_that_is_known() -> None:
    """A slip in a header would hide a group from nobody and nothing."""
    assert {group.capability for group in load_groups()} - {""} <= set(CAPABILITIES)
