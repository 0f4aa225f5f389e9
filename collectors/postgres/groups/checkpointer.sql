-- group: checkpointer
-- what: pg_stat_checkpointer, which 17 split off.
-- versions: 17..
-- counter pg_stat_checkpointer_num_timed_total: Scheduled checkpoints.
-- counter pg_stat_checkpointer_num_requested_total: Requested checkpoints.
-- counter pg_stat_checkpointer_restartpoints_timed_total: Scheduled restartpoints, on a standby.
-- counter pg_stat_checkpointer_restartpoints_req_total: Requested restartpoints.
-- counter pg_stat_checkpointer_restartpoints_done_total: Restartpoints done.
-- counter pg_stat_checkpointer_write_time_total: Milliseconds spent writing.
-- counter pg_stat_checkpointer_sync_time_total: Milliseconds spent syncing.
-- counter pg_stat_checkpointer_buffers_written_total: Buffers written.
select
    num_timed as pg_stat_checkpointer_num_timed_total,
    num_requested as pg_stat_checkpointer_num_requested_total,
    restartpoints_timed as pg_stat_checkpointer_restartpoints_timed_total,
    restartpoints_req as pg_stat_checkpointer_restartpoints_req_total,
    restartpoints_done as pg_stat_checkpointer_restartpoints_done_total,
    write_time as pg_stat_checkpointer_write_time_total,
    sync_time as pg_stat_checkpointer_sync_time_total,
    buffers_written as pg_stat_checkpointer_buffers_written_total
from pg_stat_checkpointer
