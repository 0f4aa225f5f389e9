-- group: database_conflicts
-- what: On a standby, why recovery cancelled queries.
-- only: standby
-- labels: datid, datname
-- counter pg_stat_database_conflicts_confl_tablespace: Cancelled for dropped tablespaces.
-- counter pg_stat_database_conflicts_confl_lock: Cancelled for lock timeouts.
-- counter pg_stat_database_conflicts_confl_snapshot: Cancelled for old snapshots.
-- counter pg_stat_database_conflicts_confl_bufferpin: Cancelled for pinned buffers.
-- counter pg_stat_database_conflicts_confl_deadlock: Cancelled for deadlocks.
select
    datid, datname,
    confl_tablespace as pg_stat_database_conflicts_confl_tablespace,
    confl_lock as pg_stat_database_conflicts_confl_lock,
    confl_snapshot as pg_stat_database_conflicts_confl_snapshot,
    confl_bufferpin as pg_stat_database_conflicts_confl_bufferpin,
    confl_deadlock as pg_stat_database_conflicts_confl_deadlock
from pg_stat_database_conflicts
where datname is not null
