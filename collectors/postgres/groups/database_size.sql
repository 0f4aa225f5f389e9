-- group: database_size
-- what: The size of each database. It walks the data folder, so it is not asked at every poll.
-- interval: 60s
-- labels: datname
-- capability: database_sizes
-- gauge pg_database_size_bytes: Bytes on disk.
-- gauge pg_database_size_mb: Bytes on disk / 1048576 (the name that Supabase's dashboards read).
-- gauge pg_database_connection_limit: The database's own connection limit; -1 for none.
with sized as (
    select datname, datconnlimit,
        case
            when has_database_privilege(oid, 'connect') or pg_has_role('pg_read_all_stats', 'usage')
            then pg_database_size(oid)
        end as bytes
    from pg_database
    where datallowconn
)
select
    datname,
    bytes as pg_database_size_bytes,
    bytes / 1048576.0 as pg_database_size_mb,
    datconnlimit as pg_database_connection_limit
from sized
