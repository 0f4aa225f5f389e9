-- group: archiver
-- what: Whether write-ahead log reaches the archive.
-- only: primary
-- counter pg_stat_archiver_archived_count: Files archived.
-- counter pg_stat_archiver_failed_count: Attempts that failed.
-- gauge pg_stat_archiver_last_archive_age: Seconds since a file was archived last; absent if none ever was.
-- gauge tocsin_pg_archiver_failing_seconds: How long archiving has failed since its last success; 0 when it works.
select
    archived_count as pg_stat_archiver_archived_count,
    failed_count as pg_stat_archiver_failed_count,
    greatest(extract(epoch from clock_timestamp() - last_archived_time), 0)::float8 as pg_stat_archiver_last_archive_age,
    case
        when last_failed_time > coalesce(last_archived_time, '-infinity')
        then greatest(extract(epoch from clock_timestamp()
            - coalesce(last_archived_time, greatest(stats_reset, pg_postmaster_start_time()))), 0)::float8
        else 0
    end as tocsin_pg_archiver_failing_seconds
from pg_stat_archiver
