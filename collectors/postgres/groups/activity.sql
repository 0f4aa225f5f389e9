-- group: activity
-- what: Client backends by database, role and state. Every state is there for each database, if only as 0.
-- labels: datname, usename, state
-- capability: activity
-- gauge pg_stat_activity_count: Client backends.
-- gauge pg_stat_activity_max_tx_duration: Age in seconds of the oldest transaction among them; 0 for none.
with backend as (
    select datname, usename, state,
        count(*) as backends,
        max(extract(epoch from clock_timestamp() - xact_start)) as oldest
    from pg_stat_activity
    where backend_type = 'client backend' and pid <> pg_backend_pid() and datname is not null
    group by datname, usename, state
), zero as (
    select datname, null::name as usename, state
    from pg_database,
        unnest(array['active', 'idle', 'idle in transaction', 'idle in transaction (aborted)',
            'fastpath function call', 'disabled']) as state
    where datallowconn
)
select
    datname, usename, state,
    coalesce(max(backends), 0) as pg_stat_activity_count,
    greatest(coalesce(max(oldest), 0), 0)::float8 as pg_stat_activity_max_tx_duration
from (
    select datname, usename, state, backends, oldest from backend
    union all
    select datname, usename, state, 0, 0 from zero
    where not exists (
        select from backend where backend.datname = zero.datname and backend.state = zero.state)
) every_state
group by datname, usename, state
