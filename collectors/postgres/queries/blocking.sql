-- Every session that waits for a lock, and every one that is waited for. pg_blocking_pids and the views take no lock
-- on relations, so this answers also while a table is locked exclusively. {waitstart}: null::timestamptz before 14.
-- A prepared transaction holds its locks as pid 0.
with waiting as materialized (
    select pid, {waitstart} as waitstart from pg_locks where not granted group by pid
), edge as materialized (
    select pid, waitstart, pg_blocking_pids(pid) as blockers from waiting
), involved as (
    select pid from edge
    union
    select unnest(blockers) from edge
)
select
    involved.pid, backend.datname, backend.usename, backend.application_name, backend.state,
    coalesce(edge.blockers, '{{}}') as blockers,
    greatest(extract(epoch from clock_timestamp() - coalesce(edge.waitstart, backend.query_start)), 0)::float8 as waited
from involved
left join edge using (pid)
left join pg_stat_activity backend using (pid)
order by involved.pid
