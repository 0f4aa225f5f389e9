-- group: bgwriter_17
-- what: The same names from where 17 keeps the figures: pg_stat_checkpointer, pg_stat_io and what is left of pg_stat_bgwriter.
-- versions: 17..
-- counter pg_stat_bgwriter_checkpoints_timed_total also pg_stat_bgwriter_checkpoints_timed: Scheduled checkpoints.
-- counter pg_stat_bgwriter_checkpoints_req_total also pg_stat_bgwriter_checkpoints_req: Requested checkpoints.
-- counter pg_stat_bgwriter_checkpoint_write_time_total also pg_stat_bgwriter_checkpoint_write_time: Milliseconds that checkpoints spent writing.
-- counter pg_stat_bgwriter_checkpoint_sync_time_total also pg_stat_bgwriter_checkpoint_sync_time: Milliseconds that checkpoints spent syncing.
-- counter pg_stat_bgwriter_buffers_checkpoint_total also pg_stat_bgwriter_buffers_checkpoint: Buffers that checkpoints wrote.
-- counter pg_stat_bgwriter_buffers_clean_total also pg_stat_bgwriter_buffers_clean: Buffers that the background writer wrote.
-- counter pg_stat_bgwriter_maxwritten_clean_total also pg_stat_bgwriter_maxwritten_clean: Rounds that the background writer ended early for having written too much.
-- counter pg_stat_bgwriter_buffers_backend_total also pg_stat_bgwriter_buffers_backend: Buffers that backends had to write themselves.
-- counter pg_stat_bgwriter_buffers_backend_fsync_total also pg_stat_bgwriter_buffers_backend_fsync: Syncs that backends had to do themselves.
-- counter pg_stat_bgwriter_buffers_alloc_total also pg_stat_bgwriter_buffers_alloc: Buffers allocated.
-- gauge pg_stat_bgwriter_stats_reset_total also pg_stat_bgwriter_stats_reset: When these counters were reset last, as a Unix time.
with backends as (
    select sum(writes) as writes, sum(fsyncs) as fsyncs
    from pg_stat_io
    where backend_type not in ('background writer', 'checkpointer') and object = 'relation'
)
select
    checkpoint.num_timed as pg_stat_bgwriter_checkpoints_timed_total,
    checkpoint.num_requested as pg_stat_bgwriter_checkpoints_req_total,
    checkpoint.write_time as pg_stat_bgwriter_checkpoint_write_time_total,
    checkpoint.sync_time as pg_stat_bgwriter_checkpoint_sync_time_total,
    checkpoint.buffers_written as pg_stat_bgwriter_buffers_checkpoint_total,
    bgwriter.buffers_clean as pg_stat_bgwriter_buffers_clean_total,
    bgwriter.maxwritten_clean as pg_stat_bgwriter_maxwritten_clean_total,
    backends.writes as pg_stat_bgwriter_buffers_backend_total,
    backends.fsyncs as pg_stat_bgwriter_buffers_backend_fsync_total,
    bgwriter.buffers_alloc as pg_stat_bgwriter_buffers_alloc_total,
    extract(epoch from bgwriter.stats_reset)::float8 as pg_stat_bgwriter_stats_reset_total
from pg_stat_bgwriter bgwriter, pg_stat_checkpointer checkpoint, backends
