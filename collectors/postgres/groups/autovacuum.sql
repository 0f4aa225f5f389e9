-- group: autovacuum
-- what: Autovacuum at work.
-- capability: activity
-- gauge tocsin_pg_autovacuum_workers: Autovacuum workers running.
-- gauge tocsin_pg_autovacuum_wraparound_workers: Those of them that run to prevent wraparound; they don't give way.
-- gauge tocsin_pg_autovacuum_longest_seconds: How long the longest of them has run; 0 for none.
select
    count(*) as tocsin_pg_autovacuum_workers,
    count(*) filter (where query like '%(to prevent wraparound)') as tocsin_pg_autovacuum_wraparound_workers,
    greatest(coalesce(max(extract(epoch from clock_timestamp() - xact_start)), 0), 0)::float8
        as tocsin_pg_autovacuum_longest_seconds
from pg_stat_activity
where backend_type = 'autovacuum worker'
