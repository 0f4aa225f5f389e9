-- group: replicas
-- what: Who streams from this server, and how far behind each is.
-- only: primary
-- labels: application_name, client_addr, state
-- capability: activity
-- gauge pg_stat_replication_pg_wal_lsn_diff: Bytes between this server's position and what the replica has replayed.
-- gauge pg_stat_replication_reply_time: When the replica reported last, as a Unix time.
-- gauge tocsin_pg_replica_write_lag_seconds: Time until the replica has written recent log; absent when idle.
-- gauge tocsin_pg_replica_flush_lag_seconds: Time until the replica has flushed recent log; absent when idle.
-- gauge tocsin_pg_replica_replay_lag_seconds: Time until the replica has replayed recent log; absent when idle.
select
    application_name, host(client_addr) as client_addr, state,
    max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn))::float8 as pg_stat_replication_pg_wal_lsn_diff,
    max(extract(epoch from reply_time))::float8 as pg_stat_replication_reply_time,
    max(extract(epoch from write_lag))::float8 as tocsin_pg_replica_write_lag_seconds,
    max(extract(epoch from flush_lag))::float8 as tocsin_pg_replica_flush_lag_seconds,
    max(extract(epoch from replay_lag))::float8 as tocsin_pg_replica_replay_lag_seconds
from pg_stat_replication
group by 1, 2, 3
