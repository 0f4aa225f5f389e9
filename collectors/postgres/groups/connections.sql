-- group: connections
-- what: How many of the slots that ordinary roles may use are taken.
-- gauge tocsin_pg_connections_used: Client backends, ours included.
-- gauge tocsin_pg_connections_available: Slots open to ordinary roles: max_connections less the reserved ones.
with setting as (
    select
        current_setting('max_connections')::int as all_slots,
        current_setting('superuser_reserved_connections')::int
            + coalesce(current_setting('reserved_connections', true), '0')::int as reserved
)
select
    -- backend_type is hidden from a role without pg_read_all_stats; numbackends never is.
    greatest(
        (select count(*) from pg_stat_activity where backend_type = 'client backend'),
        case when not pg_has_role('pg_read_all_stats', 'usage')
            then (select sum(numbackends) from pg_stat_database) else 0 end
    ) as tocsin_pg_connections_used,
    all_slots - reserved as tocsin_pg_connections_available
from setting
