-- The text of one statement. It reads the whole text file: asked for suspects only.
select left(query, 200) as query from {schema}.pg_stat_statements(true) where queryid = %s limit 1
