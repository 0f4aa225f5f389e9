-- group: sequences
-- what: Sequences that run out: inserts fail at the end. The 20 fullest, and those that we may not read.
-- scope: database
-- interval: 5m
-- labels: datname, schemaname, sequencename
-- gauge tocsin_pg_sequence_used_ratio: Part of the range that is used, 0 to 1; cycling ones are left out.
select
    current_database() as datname, schemaname, sequencename,
    case when increment_by > 0
        then (last_value - min_value)::float8 / nullif(max_value - min_value, 0)
        else (max_value - last_value)::float8 / nullif(max_value - min_value, 0)
    end as tocsin_pg_sequence_used_ratio
from pg_sequences
where not cycle and last_value is not null
order by 4 desc nulls last
limit 20
