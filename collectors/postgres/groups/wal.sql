-- group: wal
-- what: Write-ahead log produced.
-- versions: 14..
-- counter pg_stat_wal_records_total: Records written.
-- counter pg_stat_wal_fpi_total: Full page images written.
-- counter pg_stat_wal_bytes_total: Bytes written.
-- counter pg_stat_wal_buffers_full_total: Writes forced by full WAL buffers.
select
    wal_records as pg_stat_wal_records_total,
    wal_fpi as pg_stat_wal_fpi_total,
    wal_bytes::float8 as pg_stat_wal_bytes_total,
    wal_buffers_full as pg_stat_wal_buffers_full_total
from pg_stat_wal
