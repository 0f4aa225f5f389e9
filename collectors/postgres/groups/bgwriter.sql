-- group: bgwriter
-- what: Checkpoints and buffers written, as pg_stat_bgwriter has them up to 16.
-- versions: 13..16
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
select
    checkpoints_timed as pg_stat_bgwriter_checkpoints_timed_total,
    checkpoints_req as pg_stat_bgwriter_checkpoints_req_total,
    checkpoint_write_time as pg_stat_bgwriter_checkpoint_write_time_total,
    checkpoint_sync_time as pg_stat_bgwriter_checkpoint_sync_time_total,
    buffers_checkpoint as pg_stat_bgwriter_buffers_checkpoint_total,
    buffers_clean as pg_stat_bgwriter_buffers_clean_total,
    maxwritten_clean as pg_stat_bgwriter_maxwritten_clean_total,
    buffers_backend as pg_stat_bgwriter_buffers_backend_total,
    buffers_backend_fsync as pg_stat_bgwriter_buffers_backend_fsync_total,
    buffers_alloc as pg_stat_bgwriter_buffers_alloc_total,
    extract(epoch from stats_reset)::float8 as pg_stat_bgwriter_stats_reset_total
from pg_stat_bgwriter
