-- group: slru
-- what: The small caches of transaction status; misses point at long transactions or many subtransactions.
-- interval: 60s
-- labels: name
-- counter pg_stat_slru_blks_hit_total: Blocks found in the cache.
-- counter pg_stat_slru_blks_read_total: Blocks read from disk.
-- counter pg_stat_slru_blks_written_total: Blocks written.
select
    name,
    blks_hit as pg_stat_slru_blks_hit_total,
    blks_read as pg_stat_slru_blks_read_total,
    blks_written as pg_stat_slru_blks_written_total
from pg_stat_slru
