-- group: lock_table
-- what: How full the shared lock table is; a full one fails statements with "out of shared memory".
-- gauge tocsin_pg_lock_table_used_ratio: Locks in the table / its nominal size, 0 to 1 and beyond.
select
    count(*) filter (where not fastpath)::float8
    / (current_setting('max_locks_per_transaction')::float8
        * (current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int))
    as tocsin_pg_lock_table_used_ratio
from pg_locks
