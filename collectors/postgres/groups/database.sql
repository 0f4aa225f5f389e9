-- group: database
-- what: pg_stat_database, one row a database.
-- labels: datid, datname
-- gauge pg_stat_database_numbackends also pg_stat_database_num_backends: Backends connected to this database.
-- counter pg_stat_database_xact_commit: Transactions committed.
-- counter pg_stat_database_xact_rollback: Transactions rolled back.
-- counter pg_stat_database_blks_read: Blocks read from the operating system.
-- counter pg_stat_database_blks_hit: Blocks found in shared buffers.
-- counter pg_stat_database_tup_returned: Live rows fetched by scans.
-- counter pg_stat_database_tup_fetched: Live rows fetched by index scans.
-- counter pg_stat_database_tup_inserted: Rows inserted.
-- counter pg_stat_database_tup_updated: Rows updated.
-- counter pg_stat_database_tup_deleted: Rows deleted.
-- counter pg_stat_database_conflicts: Queries cancelled by conflicts with recovery, on a standby.
-- counter pg_stat_database_temp_files: Temporary files written by queries.
-- counter pg_stat_database_temp_bytes: Bytes written to temporary files by queries.
-- counter pg_stat_database_deadlocks: Deadlocks detected.
-- counter pg_stat_database_checksum_failures: Data page checksum failures; absent where checksums are off.
-- counter pg_stat_database_blk_read_time: Milliseconds spent reading blocks; 0 unless track_io_timing is on.
-- counter pg_stat_database_blk_write_time: Milliseconds spent writing blocks; 0 unless track_io_timing is on.
-- gauge pg_stat_database_stats_reset: When these counters were reset last, as a Unix time.
select
    datid, datname,
    numbackends as pg_stat_database_numbackends,
    xact_commit as pg_stat_database_xact_commit,
    xact_rollback as pg_stat_database_xact_rollback,
    blks_read as pg_stat_database_blks_read,
    blks_hit as pg_stat_database_blks_hit,
    tup_returned as pg_stat_database_tup_returned,
    tup_fetched as pg_stat_database_tup_fetched,
    tup_inserted as pg_stat_database_tup_inserted,
    tup_updated as pg_stat_database_tup_updated,
    tup_deleted as pg_stat_database_tup_deleted,
    conflicts as pg_stat_database_conflicts,
    temp_files as pg_stat_database_temp_files,
    temp_bytes as pg_stat_database_temp_bytes,
    deadlocks as pg_stat_database_deadlocks,
    checksum_failures as pg_stat_database_checksum_failures,
    blk_read_time as pg_stat_database_blk_read_time,
    blk_write_time as pg_stat_database_blk_write_time,
    extract(epoch from stats_reset)::float8 as pg_stat_database_stats_reset
from pg_stat_database
where datname is not null
