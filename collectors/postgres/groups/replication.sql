-- group: replication
-- what: How far this standby is behind what it has received; absent on a primary.
-- only: standby
-- gauge pg_replication_lag_seconds: Age of the last replayed transaction; 0 when all that was received is replayed.
-- gauge tocsin_pg_replay_lag_bytes: Write-ahead log received and not yet replayed.
-- gauge tocsin_pg_wal_receiver_up: 1 if a WAL receiver streams from the primary, else 0.
select
    case
        when pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() then 0
        else greatest(extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()), 0)::float8
    end as pg_replication_lag_seconds,
    pg_wal_lsn_diff(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())::float8 as tocsin_pg_replay_lag_bytes,
    (select count(*) from pg_stat_wal_receiver where status = 'streaming') as tocsin_pg_wal_receiver_up
