-- group: replica_count
-- what: How many replicas stream from this server; there even when it is 0.
-- capability: activity
-- gauge tocsin_pg_replicas: Connections in pg_stat_replication that stream; backups and others with a temporary slot apart.
select count(*) filter (
    where state = 'streaming'
    -- A base backup streams the log beside its files, over a slot that ends with it; so do tools that look in for a while.
    and not exists (select from pg_replication_slots slot where slot.active_pid = sender.pid and slot.temporary)
    and application_name <> 'pg_basebackup'
    -- The first copy of a table that a subscription was given.
    and application_name !~ '^pg_[0-9]+_sync_[0-9]+_'
) as tocsin_pg_replicas
from pg_stat_replication sender
