-- group: io
-- what: Who reads and writes what, by pg_stat_io; rows that can't occur and rows of only zeros are left out.
-- versions: 16..
-- interval: 30s
-- labels: backend_type, object, context
-- counter pg_stat_io_reads_total: Read operations.
-- counter pg_stat_io_read_time_seconds_total: Time spent reading; 0 unless track_io_timing is on.
-- counter pg_stat_io_writes_total: Write operations.
-- counter pg_stat_io_write_time_seconds_total: Time spent writing; 0 unless track_io_timing is on.
-- counter pg_stat_io_extends_total: Relation extensions.
-- counter pg_stat_io_hits_total: Blocks found in a buffer.
-- counter pg_stat_io_evictions_total: Buffers evicted to make room.
-- counter pg_stat_io_fsyncs_total: fsync calls.
select
    backend_type, object, context,
    reads as pg_stat_io_reads_total,
    read_time / 1000 as pg_stat_io_read_time_seconds_total,
    writes as pg_stat_io_writes_total,
    write_time / 1000 as pg_stat_io_write_time_seconds_total,
    extends as pg_stat_io_extends_total,
    hits as pg_stat_io_hits_total,
    evictions as pg_stat_io_evictions_total,
    fsyncs as pg_stat_io_fsyncs_total
from pg_stat_io
where coalesce(reads, 0) + coalesce(writes, 0) + coalesce(extends, 0) + coalesce(hits, 0) + coalesce(fsyncs, 0) > 0
