-- group: table_io
-- what: Blocks read and found in cache, for the same 100 tables.
-- scope: database
-- interval: 60s
-- labels: datname, schemaname, relname
-- counter pg_statio_user_tables_heap_blocks_read: Blocks of the table read.
-- counter pg_statio_user_tables_heap_blocks_hit: Blocks of the table found in cache.
-- counter pg_statio_user_tables_idx_blocks_read: Blocks of its indexes read.
-- counter pg_statio_user_tables_idx_blocks_hit: Blocks of its indexes found in cache.
select
    current_database() as datname, stat.schemaname, stat.relname,
    heap_blks_read as pg_statio_user_tables_heap_blocks_read,
    heap_blks_hit as pg_statio_user_tables_heap_blocks_hit,
    idx_blks_read as pg_statio_user_tables_idx_blocks_read,
    idx_blks_hit as pg_statio_user_tables_idx_blocks_hit
from pg_statio_user_tables stat join pg_class class on class.oid = stat.relid
order by class.relpages desc, stat.relid
limit 100
