-- group: wal_directory
-- what: How much write-ahead log lies on disk. It reads a folder, so it is not asked at every poll.
-- interval: 60s
-- capability: wal_directory
-- gauge pg_wal_segments: Files in pg_wal.
-- gauge pg_wal_size_bytes: Their size.
select count(*) as pg_wal_segments, sum(size)::float8 as pg_wal_size_bytes
from pg_ls_waldir()
where name ~ '^[0-9A-F]{24}$'
