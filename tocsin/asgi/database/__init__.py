"""The application's Postgres: a pool in which every wait has an end, and which tells what it does.

    database = Database(os.environ["DATABASE_URL"], size=8)
    application = protect(app, public=["/healthz"], database=database)

    campaigns = await database.rows("select * from campaigns where id = any(%s)", [ids])
    async with database.transaction() as connection:
        await connection.execute("update …")

Each statement stands for itself (one round trip, no BEGIN and COMMIT) outside of `transaction()`. Connections are
psycopg's, rows are dictionaries.

    waits        `wait` for a connection, `statement_timeout`, `lock_timeout`, `idle_timeout` in a transaction; past one
                 of them it is Unavailable, which the layers answer with 503 and Retry-After
    health       `await database.ping()` raises Unavailable
    slow         statements over `slow` seconds are logged as `database.slow`: their shape without any value, route,
                 request id, trace id, and the place in the code; five of a shape a minute, the others counted
    series       tocsin_database_…: the pool, what it gave up on, waits, statements' time by route (see asgi/measures)
    observers    told of each statement and each wait for a connection, for spans
    queries()    in tests: which request asks the same thing again and again (see n_plus_one)

Behind a pooler in transaction mode (Supabase's port 6543, PgBouncer) say `transaction_pooler=True`: a session is
another one with every transaction there, so statements aren't prepared, and the timeouts hold inside of `transaction()`
only. For what is outside, set them on the role: `alter role app set statement_timeout = '5s'`.
"""

from __future__ import annotations

from tocsin.asgi.database.failures import Saturated, TookTooLong, Unreachable
from tocsin.asgi.database.n_plus_one import NPlusOne, Queries, queries
from tocsin.asgi.database.pool import Connection, Database
from tocsin.asgi.database.watch import Event, Statement, Wait
from tocsin.asgi.problem import Unavailable

__all__ = [
    "Connection", "Database", "Event", "NPlusOne", "Queries", "Saturated", "Statement", "TookTooLong", "Unavailable",
    "Unreachable", "Wait", "queries",
]  # fmt: skip
