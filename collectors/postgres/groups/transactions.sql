-- group: transactions
-- what: Transactions that last: they hold locks and keep vacuum from cleaning up.
-- labels: datname
-- capability: activity
-- gauge tocsin_pg_oldest_transaction_seconds: Age of the oldest transaction of a client; 0 for none.
-- gauge tocsin_pg_idle_in_transaction: Sessions that idle inside a transaction.
-- gauge tocsin_pg_idle_in_transaction_seconds: How long the worst of them has idled; 0 for none.
-- gauge tocsin_pg_idle_in_transaction_blocking_seconds: The same, of those that block somebody; 0 for none.
with idle as (
    select pid from pg_stat_activity where state like 'idle in transaction%'
), guilty as (
    select distinct unnest(pg_blocking_pids(waiting.pid)) as pid
    from (select distinct pid from pg_locks where not granted) waiting
    where exists (select from idle)
)
select
    database.datname,
    greatest(coalesce(max(extract(epoch from clock_timestamp() - xact_start)), 0), 0)::float8
        as tocsin_pg_oldest_transaction_seconds,
    count(*) filter (where state like 'idle in transaction%') as tocsin_pg_idle_in_transaction,
    greatest(coalesce(max(extract(epoch from clock_timestamp() - state_change))
        filter (where state like 'idle in transaction%'), 0), 0)::float8 as tocsin_pg_idle_in_transaction_seconds,
    greatest(coalesce(max(extract(epoch from clock_timestamp() - state_change))
        filter (where state like 'idle in transaction%' and backend.pid in (select pid from guilty)), 0), 0)::float8
        as tocsin_pg_idle_in_transaction_blocking_seconds
from pg_database database
left join pg_stat_activity backend
    on backend.datid = database.oid and backend.backend_type = 'client backend' and backend.pid <> pg_backend_pid()
where database.datallowconn
group by database.datname
