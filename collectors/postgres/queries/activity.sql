-- Statements that clients run now, and their ages by the server's own clock. Walsenders, autovacuum, parallel and
-- background workers are no client backends. {query_id}: null::bigint before 14.
select
    pid, backend_start, query_start, datname, usename,
    extract(epoch from clock_timestamp() - query_start)::float8 as age,
    {query_id} as query_id,
    application_name ~* '^(pg_dump|pg_dumpall|pg_restore|pg_basebackup|pgbackrest|barman|wal-g|walg)' as backup
from pg_stat_activity
where state in ('active', 'fastpath function call')
    and backend_type = 'client backend'
    and query_start is not null
    and pid <> pg_backend_pid()
