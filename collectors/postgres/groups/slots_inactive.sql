-- group: slots_inactive
-- what: Since when slots have been unused.
-- versions: 17..
-- labels: slot_name, slot_type, database
-- gauge tocsin_pg_replication_slot_inactive_seconds: How long the slot has been unused; 0 while it is used.
select
    slot_name, slot_type, database,
    greatest(coalesce(extract(epoch from clock_timestamp() - inactive_since), 0), 0)::float8
        as tocsin_pg_replication_slot_inactive_seconds
from pg_replication_slots
where not temporary
