-- group: indexes
-- what: Indexes that only cost: invalid, never used since the counters were reset, or the same as another.
-- scope: database
-- interval: 5m
-- labels: datname
-- gauge tocsin_pg_invalid_indexes: Indexes that a failed CREATE INDEX CONCURRENTLY or REINDEX left behind.
-- gauge tocsin_pg_unused_indexes: Indexes over 1 MB without a scan that enforce nothing.
-- gauge tocsin_pg_unused_index_bytes: Their size, as of the last vacuum or analyze.
-- gauge tocsin_pg_duplicate_indexes: Indexes with the same table, columns, order and predicate as an older one.
with entry as (
    select index.indexrelid, index.indisvalid,
        class.relpages::float8 * current_setting('block_size')::int as bytes,
        -- A build in progress is invalid as well, and is no finding.
        exists (select from pg_stat_progress_create_index build where build.index_relid = index.indexrelid) as building,
        stat.idx_scan = 0 and not index.indisunique and not index.indisprimary and not index.indisexclusion
            and not index.indisreplident
            and not exists (select from pg_constraint c where c.conindid = index.indexrelid) as idle,
        row_number() over (
            partition by index.indrelid, class.relam, index.indkey::text, index.indclass::text,
                index.indcollation::text, index.indoption::text, index.indexprs::text, index.indpred::text,
                index.indisunique
            order by index.indisprimary desc, index.indexrelid
        ) > 1 as duplicate
    from pg_index index
    join pg_class class on class.oid = index.indexrelid
    join pg_stat_user_indexes stat on stat.indexrelid = index.indexrelid
)
select
    current_database() as datname,
    count(*) filter (where not indisvalid and not building) as tocsin_pg_invalid_indexes,
    count(*) filter (where idle and bytes > 1048576) as tocsin_pg_unused_indexes,
    coalesce(sum(bytes) filter (where idle and bytes > 1048576), 0) as tocsin_pg_unused_index_bytes,
    count(*) filter (where duplicate) as tocsin_pg_duplicate_indexes
from entry
