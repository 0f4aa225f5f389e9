-- group: replica_count
-- what: How many replicas stream from this server; there even when it is 0.
-- capability: activity
-- gauge tocsin_pg_replicas: Connections in pg_stat_replication that stream (base backups apart).
select count(*) filter (where state = 'streaming') as tocsin_pg_replicas from pg_stat_replication
