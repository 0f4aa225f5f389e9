-- group: settings
-- what: The settings that dashboards and rules read. `reset_val`, since our own session overrides some.
-- interval: 60s
-- gauge pg_settings_max_connections: Setting max_connections.
-- gauge pg_settings_superuser_reserved_connections: Setting superuser_reserved_connections.
-- gauge pg_settings_reserved_connections: Setting reserved_connections (16 and later).
-- gauge pg_settings_shared_buffers_bytes: Setting shared_buffers.
-- gauge pg_settings_effective_cache_size_bytes: Setting effective_cache_size.
-- gauge pg_settings_work_mem_bytes: Setting work_mem.
-- gauge pg_settings_maintenance_work_mem_bytes: Setting maintenance_work_mem.
-- gauge pg_settings_max_wal_size_bytes: Setting max_wal_size.
-- gauge pg_settings_random_page_cost: Setting random_page_cost.
-- gauge pg_settings_seq_page_cost: Setting seq_page_cost.
-- gauge pg_settings_max_worker_processes: Setting max_worker_processes.
-- gauge pg_settings_max_parallel_workers: Setting max_parallel_workers.
-- gauge pg_settings_default_statistics_target: Setting default_statistics_target.
-- gauge pg_settings_max_locks_per_transaction: Setting max_locks_per_transaction.
-- gauge pg_settings_max_prepared_transactions: Setting max_prepared_transactions.
-- gauge pg_settings_autovacuum: Setting autovacuum, 1 for on.
-- gauge pg_settings_autovacuum_max_workers: Setting autovacuum_max_workers.
-- gauge pg_settings_autovacuum_freeze_max_age: Setting autovacuum_freeze_max_age, in transactions.
-- gauge pg_settings_autovacuum_multixact_freeze_max_age: Setting autovacuum_multixact_freeze_max_age.
-- gauge pg_settings_checkpoint_timeout_seconds: Setting checkpoint_timeout.
-- gauge pg_settings_checkpoint_completion_target: Setting checkpoint_completion_target.
-- gauge pg_settings_fsync: Setting fsync, 1 for on.
-- gauge pg_settings_full_page_writes: Setting full_page_writes, 1 for on.
-- gauge pg_settings_archive_mode: Setting archive_mode, 1 for on or always.
-- gauge pg_settings_track_io_timing: Setting track_io_timing, 1 for on.
-- gauge pg_settings_default_transaction_read_only: Setting default_transaction_read_only, 1 for on.
-- gauge tocsin_pg_settings_pending_restart: Settings changed in the file that wait for a restart.
with setting as (
    select name, reset_val, unit, pending_restart,
        case
            when vartype = 'bool' then (reset_val = 'on')::int::float8
            when vartype in ('integer', 'real') then reset_val::float8
        end * case unit
            when 'B' then 1 when 'kB' then 1024 when '8kB' then 8192 when 'MB' then 1048576
            when 'ms' then 0.001 when 's' then 1 when 'min' then 60 else 1
        end as value
    from pg_settings
)
select
    max(value) filter (where name = 'max_connections') as pg_settings_max_connections,
    max(value) filter (where name = 'superuser_reserved_connections') as pg_settings_superuser_reserved_connections,
    max(value) filter (where name = 'reserved_connections') as pg_settings_reserved_connections,
    max(value) filter (where name = 'shared_buffers') as pg_settings_shared_buffers_bytes,
    max(value) filter (where name = 'effective_cache_size') as pg_settings_effective_cache_size_bytes,
    max(value) filter (where name = 'work_mem') as pg_settings_work_mem_bytes,
    max(value) filter (where name = 'maintenance_work_mem') as pg_settings_maintenance_work_mem_bytes,
    max(value) filter (where name = 'max_wal_size') as pg_settings_max_wal_size_bytes,
    max(value) filter (where name = 'random_page_cost') as pg_settings_random_page_cost,
    max(value) filter (where name = 'seq_page_cost') as pg_settings_seq_page_cost,
    max(value) filter (where name = 'max_worker_processes') as pg_settings_max_worker_processes,
    max(value) filter (where name = 'max_parallel_workers') as pg_settings_max_parallel_workers,
    max(value) filter (where name = 'default_statistics_target') as pg_settings_default_statistics_target,
    max(value) filter (where name = 'max_locks_per_transaction') as pg_settings_max_locks_per_transaction,
    max(value) filter (where name = 'max_prepared_transactions') as pg_settings_max_prepared_transactions,
    max(value) filter (where name = 'autovacuum') as pg_settings_autovacuum,
    max(value) filter (where name = 'autovacuum_max_workers') as pg_settings_autovacuum_max_workers,
    max(value) filter (where name = 'autovacuum_freeze_max_age') as pg_settings_autovacuum_freeze_max_age,
    max(value) filter (where name = 'autovacuum_multixact_freeze_max_age')
        as pg_settings_autovacuum_multixact_freeze_max_age,
    max(value) filter (where name = 'checkpoint_timeout') as pg_settings_checkpoint_timeout_seconds,
    max(value) filter (where name = 'checkpoint_completion_target') as pg_settings_checkpoint_completion_target,
    max(value) filter (where name = 'fsync') as pg_settings_fsync,
    max(value) filter (where name = 'full_page_writes') as pg_settings_full_page_writes,
    max((reset_val <> 'off')::int) filter (where name = 'archive_mode') as pg_settings_archive_mode,
    max(value) filter (where name = 'track_io_timing') as pg_settings_track_io_timing,
    max(value) filter (where name = 'default_transaction_read_only') as pg_settings_default_transaction_read_only,
    count(*) filter (where pending_restart) as tocsin_pg_settings_pending_restart
from setting
