"""What `tocsin doctor queries` finds on the example without its indexes, and what the advised ones change.

    python bench/indexes.py [--campaigns 100] [--recipients 2000] [--rounds 20] [--json]

The example's tables are filled, its indexes on sends dropped, and its own code asks: progress, report, a batch of the
worker. `doctor queries` looks at the statements; what it advises is typed as it stands; the same is asked again. Times
are the server's (pg_stat_statements: mean of the executions), in ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from typing import Any

import psycopg

from collectors.postgres.plans import Planned, planned
from examples.campaigns.database import make_database, prepare
from examples.campaigns.measures import Measures
from examples.campaigns.store import Campaigns
from examples.campaigns.worker import Spool, Worker
from tocsin.testing.postgres import EmbeddedPostgres

TAKEN = ("sends_pending", "sends_by_campaign")
_FILL = (
    "insert into campaigns (name, subject, body, status, launched_at, recipients)"
    " select 'c', 's', 'b', 'running', now(), {recipients} from generate_series(1, {campaigns})",
    "insert into recipients (campaign_id, email)"
    " select id, format('reader%s@example.com', n) from campaigns, generate_series(1, {recipients}) as n",
    "insert into sends (recipient_id, campaign_id) select id, campaign_id from recipients",
)
_MEANS = (
    "select s.query, s.mean_exec_time from pg_stat_statements as s join pg_database as d on d.oid = s.dbid"
    " where d.datname = current_database() and s.query ~ 'sends' and s.query !~* '^(create|drop|insert|vacuum)'"
)


async def ask(dsn: str, campaigns: int, rounds: int) -> None:
    """The application's own code, `rounds` times."""
    async with make_database(dsn) as database:
        store, worker = Campaigns(database), Worker(database, Spool(), Measures())
        for number in range(rounds):
            await store.progress(1 + number % campaigns)
            await store.report(1 + number % campaigns)
            await worker.deliver_batch()


def means(connection: psycopg.Connection[Any]) -> dict[str, float]:
    """ms by statement."""
    return dict(connection.execute(_MEANS).fetchall())


def bench(campaigns: int, recipients: int, rounds: int) -> dict[str, Any]:
    with EmbeddedPostgres.start() as server:
        dsn = server.dsn()
        asyncio.run(prepare(dsn))
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("create extension if not exists pg_stat_statements")
            for statement in _FILL:
                connection.execute(statement.format(campaigns=campaigns, recipients=recipients).encode())
            for index in TAKEN:
                connection.execute(f"drop index {index}".encode())
            connection.execute("vacuum analyze")
            connection.execute("select pg_stat_statements_reset()")
            asyncio.run(ask(dsn, campaigns, rounds))
            before = means(connection)
            found: list[Planned] = planned(dsn, 20)
            mends = sorted({advice.mend for one in found for advice in one.advice})
            for mend in mends:
                connection.execute(mend.encode())
            connection.execute("vacuum analyze sends")
            connection.execute("select pg_stat_statements_reset()")
            asyncio.run(ask(dsn, campaigns, rounds))
            after = means(connection)
    rows = [
        {"statement": " ".join(query.split()), "before_ms": round(mean, 2), "after_ms": round(after[query], 2)}
        for query, mean in sorted(before.items(), key=lambda item: -item[1])
        if query in after
    ]
    return {"sends": campaigns * recipients, "advised": mends, "statements": rows}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaigns", type=int, default=100)
    parser.add_argument("--recipients", type=int, default=2000, help="of each campaign")
    parser.add_argument("--rounds", type=int, default=20, help="how often each question is asked")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    found = bench(options.campaigns, options.recipients, options.rounds)
    if options.json:
        print(json.dumps(found))
        return 0
    print(f"{found['sends']:,} sends; advised:")
    for mend in found["advised"]:
        print(f"  {mend}")
    print("before ms  after ms  statement")
    for row in found["statements"]:
        print(f"{row['before_ms']:>9.2f}  {row['after_ms']:>8.2f}  {row['statement'][:100]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
