"""A metric group is a .sql file whose header declares what its columns mean."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from collectors.postgres import SPEC
from collectors.postgres.groups import load_groups, parse_group
from tocsin.model import Labels, Metric, MetricType, Sample

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EXAMPLE = """\
-- group: shoes
-- what: Shoes by colour.
-- versions: 14..16
-- interval: 1m
-- labels: colour
-- counter shoes_total also shoes: Shoes sold.
-- gauge shops without labels: Shops open.
select colour, shoes_total, shops from shoe
"""


def test_a_header_is_the_declaration() -> None:
    """Name, type, labels and help come from the file; there is no second place to edit."""
    group = parse_group("shoes.sql", EXAMPLE)
    assert group.metrics == (
        Metric(name="shoes_total", type=MetricType.COUNTER, help="Shoes sold.", labels=("colour",)),
        Metric(name="shoes", type=MetricType.COUNTER, help="Shoes sold.", labels=("colour",)),
        Metric(name="shops", type=MetricType.GAUGE, help="Shops open."),
    )
    assert (group.oldest, group.newest, group.interval) == (14, 16, 60.0)


def test_rows_become_samples() -> None:
    """A NULL is an absent sample; a second name repeats the value; `without labels` carries none."""
    group = parse_group("shoes.sql", EXAMPLE)
    told = list(group.samples(("colour", "shoes_total", "shops"), [("red", 3, None), (None, None, 2)], NOW))
    red = Labels(colour="red")
    assert told == [
        Sample(name="shoes_total", labels=red, value=3, at=NOW),
        Sample(name="shoes", labels=red, value=3, at=NOW),
        Sample(name="shops", value=2, at=NOW),
    ]


@pytest.mark.parametrize(
    ("line", "instead", "complaint"),
    [
        ("-- what: Shoes by colour.", "", "the header lacks `-- what"),
        ("-- group: shoes", "-- group: boots", "name it as the file"),
        ("-- versions: 14..16", "-- version: 14", "shoes.sql:3: not a header line"),
        ("-- gauge shops without labels: Shops open.", "-- gauge stores: Stores.", "no column 'stores'"),
        ("from shoe", "from shoe;", "without a semicolon"),
        ("-- labels: colour", "-- labels: colour\n-- only: weekends", "only is one of primary, standby"),
    ],
)
def test_a_wrong_header_is_refused_by_file_and_line(line: str, instead: str, complaint: str) -> None:
    """Whoever adds a group is told what to write."""
    with pytest.raises(ValueError, match=complaint):
        parse_group("shoes.sql", EXAMPLE.replace(line, instead))


def test_versions_and_roles_decide_where_a_group_runs() -> None:
    """14..16 is neither 13 nor 17; a group for standbys is not asked of a primary."""
    group = parse_group("shoes.sql", EXAMPLE.replace("-- labels", "-- only: standby\n-- labels"))
    asked = [group.runs_on(version, in_recovery=True) for version in (13, 14, 16, 17)]
    assert (asked, group.runs_on(15, in_recovery=False)) == ([False, True, True, False], False)


def test_every_version_has_the_names_that_dashboards_read() -> None:
    """17 moved the checkpointer's figures; dashboard 9628 goes on to read the old names."""
    wanted = {"pg_stat_bgwriter_buffers_alloc", "pg_stat_bgwriter_checkpoint_write_time"}
    for version in range(13, 19):
        names = {name for group in load_groups() if group.runs_on(version, in_recovery=False) for name in group.names}
        assert wanted <= names, version


def test_every_metric_is_declared_once_with_help() -> None:
    """What is charted or alerted on has a declaration."""
    names = [metric.name for metric in SPEC.metrics]
    assert len(names) == len(set(names))
    assert [metric.name for metric in SPEC.metrics if not metric.help.endswith(".")] == []
