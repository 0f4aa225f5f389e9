-- group: sequences_hidden
-- what: Sequences whose value this role may not read: pg_monitor is not enough, and Postgres shows NULL, not an error.
-- scope: database
-- interval: 5m
-- labels: datname
-- gauge tocsin_pg_sequences_hidden: Sequences that this role can't read.
select
    current_database() as datname,
    -- case, not and: the planner may ask has_sequence_privilege first, which fails for a table.
    count(*) filter (where case when relkind = 'S' then not has_sequence_privilege(oid, 'select, usage') end)
        as tocsin_pg_sequences_hidden
from pg_class
