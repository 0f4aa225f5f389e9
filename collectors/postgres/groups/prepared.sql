-- group: prepared
-- what: Two-phase transactions that nobody finished. They survive restarts and hold locks.
-- labels: datname
-- gauge tocsin_pg_prepared_transactions: Prepared transactions.
-- gauge tocsin_pg_oldest_prepared_transaction_seconds: Age of the oldest; 0 for none.
select
    database.datname,
    count(prepared.gid) as tocsin_pg_prepared_transactions,
    greatest(coalesce(max(extract(epoch from clock_timestamp() - prepared.prepared)), 0), 0)::float8
        as tocsin_pg_oldest_prepared_transaction_seconds
from pg_database database left join pg_prepared_xacts prepared on prepared.database = database.datname
where database.datallowconn
group by database.datname
