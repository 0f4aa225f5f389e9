"""Postgres: is it up, what runs in it, what waits for what, and which queries take too long?

One connection, read-only and used serially, asks small statements; each metric group is a file in `groups/`, whose
header says what its columns mean. Names are those of postgres_exporter where it has one, so its dashboards and rules
work; the rest begin with `tocsin_pg_`.

Always yielded, also when there is no server:
  pg_up                     1 if the server serves clients, else 0
  tocsin_pg_state{state}    1 for up, in_recovery, saturated, auth_failure, starting, shutting_down, hanging, down or
                            unknown; 0 for the others
What can't be seen then, or for want of a grant, is reported as blind, with the command that mends it.

Between polls a task looks at pg_stat_activity every `activity_interval`, and exactly when the oldest running
statement would become slow, and asks for a poll: a slow query is known within milliseconds of crossing the
threshold, and a server that goes away when its socket closes. pg_stat_statements proves what no look caught: two
snapshots bound the longest execution between them (see moments.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from collectors.postgres.declared import COMPUTED
from collectors.postgres.groups import declared_metrics, load_groups
from collectors.postgres.settings import PostgresSettings
from tocsin.ports import Collector, CollectorContext, CollectorSpec, Health


def build(settings: PostgresSettings, context: CollectorContext) -> Collector:
    """A collector for one server; psycopg is imported only now."""
    from collectors.postgres.collector import PostgresCollector

    return PostgresCollector(settings, context)


async def examine(settings: PostgresSettings, folder: Path) -> Sequence[Health]:
    """The server, and one line for each thing that the role does not see."""
    from collectors.postgres.examine import examine as look

    found = await look(settings, folder)
    if found.why:
        return [Health(ok=False, what=f"{found.state.value}: {found.why}", mend="see runbooks/PostgresDown.md")]
    server = f"{found.state.value}, version {found.version // 10000}, role {found.role}, database {found.database}"
    return [
        Health(ok=True, what=server),
        *(Health(ok=not gap.blinds, what=gap.what, mend=gap.mend) for gap in found.gaps),
    ]


SPEC: Final = CollectorSpec(
    kind="postgres",
    settings=PostgresSettings,
    build=build,
    examine=examine,
    metrics=(*COMPUTED, *declared_metrics(load_groups())),
)
