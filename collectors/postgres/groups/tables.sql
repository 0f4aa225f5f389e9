-- group: tables
-- what: The 100 largest tables of the database, by pages on disk. Sizes are relpages × 8 kB: pg_relation_size waits for locks.
-- scope: database
-- interval: 60s
-- labels: datname, schemaname, relname
-- counter pg_stat_user_tables_seq_scan: Sequential scans.
-- counter pg_stat_user_tables_seq_tup_read: Rows read by them.
-- counter pg_stat_user_tables_idx_scan: Index scans.
-- counter pg_stat_user_tables_idx_tup_fetch: Rows fetched by them.
-- counter pg_stat_user_tables_n_tup_ins: Rows inserted.
-- counter pg_stat_user_tables_n_tup_upd: Rows updated.
-- counter pg_stat_user_tables_n_tup_del: Rows deleted.
-- counter pg_stat_user_tables_n_tup_hot_upd: Rows updated in place (HOT).
-- gauge pg_stat_user_tables_n_live_tup: Live rows, estimated.
-- gauge pg_stat_user_tables_n_dead_tup: Dead rows, estimated.
-- gauge pg_stat_user_tables_n_mod_since_analyze: Rows changed since the last analyze, estimated.
-- gauge pg_stat_user_tables_last_vacuum: Last manual vacuum, as a Unix time; 0 for never.
-- gauge pg_stat_user_tables_last_autovacuum: Last autovacuum, as a Unix time; 0 for never.
-- gauge pg_stat_user_tables_last_analyze: Last manual analyze, as a Unix time; 0 for never.
-- gauge pg_stat_user_tables_last_autoanalyze: Last autoanalyze, as a Unix time; 0 for never.
-- counter pg_stat_user_tables_vacuum_count: Manual vacuums.
-- counter pg_stat_user_tables_autovacuum_count: Autovacuums.
-- counter pg_stat_user_tables_analyze_count: Manual analyzes.
-- counter pg_stat_user_tables_autoanalyze_count: Autoanalyzes.
-- gauge pg_stat_user_tables_table_size_bytes: Size of the table, TOAST and indexes apart, as of its last vacuum or analyze.
-- gauge tocsin_pg_table_xid_age: Age of relfrozenxid, in transactions.
select
    current_database() as datname, stat.schemaname, stat.relname,
    seq_scan as pg_stat_user_tables_seq_scan,
    seq_tup_read as pg_stat_user_tables_seq_tup_read,
    idx_scan as pg_stat_user_tables_idx_scan,
    idx_tup_fetch as pg_stat_user_tables_idx_tup_fetch,
    n_tup_ins as pg_stat_user_tables_n_tup_ins,
    n_tup_upd as pg_stat_user_tables_n_tup_upd,
    n_tup_del as pg_stat_user_tables_n_tup_del,
    n_tup_hot_upd as pg_stat_user_tables_n_tup_hot_upd,
    n_live_tup as pg_stat_user_tables_n_live_tup,
    n_dead_tup as pg_stat_user_tables_n_dead_tup,
    n_mod_since_analyze as pg_stat_user_tables_n_mod_since_analyze,
    coalesce(extract(epoch from last_vacuum), 0)::float8 as pg_stat_user_tables_last_vacuum,
    coalesce(extract(epoch from last_autovacuum), 0)::float8 as pg_stat_user_tables_last_autovacuum,
    coalesce(extract(epoch from last_analyze), 0)::float8 as pg_stat_user_tables_last_analyze,
    coalesce(extract(epoch from last_autoanalyze), 0)::float8 as pg_stat_user_tables_last_autoanalyze,
    vacuum_count as pg_stat_user_tables_vacuum_count,
    autovacuum_count as pg_stat_user_tables_autovacuum_count,
    analyze_count as pg_stat_user_tables_analyze_count,
    autoanalyze_count as pg_stat_user_tables_autoanalyze_count,
    class.relpages::float8 * current_setting('block_size')::int as pg_stat_user_tables_table_size_bytes,
    case when class.relkind = 'r' then age(class.relfrozenxid) end as tocsin_pg_table_xid_age
from pg_stat_user_tables stat join pg_class class on class.oid = stat.relid
order by class.relpages desc, stat.relid
limit 100
