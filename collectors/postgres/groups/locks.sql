-- group: locks
-- what: Locks by mode. Every mode is there for each database, if only as 0.
-- labels: datname, mode
-- gauge pg_locks_count: Locks held or awaited.
with held as (
    select database, lower(mode) as mode, count(*) as locks
    from pg_locks
    where database is not null and pid is distinct from pg_backend_pid()
    group by 1, 2
)
select database.datname, mode.name as mode, coalesce(held.locks, 0) as pg_locks_count
from pg_database database
cross join unnest(array['accesssharelock', 'rowsharelock', 'rowexclusivelock', 'shareupdateexclusivelock', 'sharelock',
    'sharerowexclusivelock', 'exclusivelock', 'accessexclusivelock', 'sireadlock']) as mode(name)
left join held on held.database = database.oid and held.mode = mode.name
where database.datallowconn
