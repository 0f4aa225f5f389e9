-- pg_stat_statements without its texts, which cost fifteen times as much. Columns differ by the extension's version,
-- which may lag behind the server's, so they are probed and filled in.
select
    statement.userid::bigint, statement.dbid::bigint, statement.queryid, {toplevel} as toplevel,
    pg_get_userbyid(statement.userid) as usename, database.datname,
    statement.calls, statement.rows, statement.{total} as total_ms, statement.{mean} as mean_ms,
    statement.{stddev} as stddev_ms, statement.{maximum} as max_ms,
    {block_read} as block_read_ms, {block_write} as block_write_ms
from {schema}.pg_stat_statements(false) statement
left join pg_database database on database.oid = statement.dbid
where statement.queryid is not null
