-- How the text of one statement begins, and whether it bears our mark. It reads the whole text file: asked for
-- suspects only.
select left(query, 60) as beginning, position(%s in query) > 0 as ours
from {schema}.pg_stat_statements(true)
where queryid = %s
limit 1
