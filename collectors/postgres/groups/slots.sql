-- group: slots
-- what: Replication slots: an inactive one keeps write-ahead log until the disk is full.
-- labels: slot_name, slot_type, database
-- gauge pg_replication_slots_active also pg_replication_slot_slot_is_active: 1 if a client uses the slot, else 0.
-- gauge pg_replication_slots_pg_wal_lsn_diff: Bytes of write-ahead log that the slot keeps.
-- gauge tocsin_pg_replication_slot_safe_wal_size_bytes: Bytes until the slot may be lost; absent where nothing limits it.
-- gauge tocsin_pg_replication_slot_unreserved: 1 if wal_status is unreserved: about to be lost.
-- gauge tocsin_pg_replication_slot_lost: 1 if wal_status is lost: the consumer can't go on.
select
    slot_name, slot_type, database,
    active::int as pg_replication_slots_active,
    pg_wal_lsn_diff(
        case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end, restart_lsn
    )::float8 as pg_replication_slots_pg_wal_lsn_diff,
    safe_wal_size as tocsin_pg_replication_slot_safe_wal_size_bytes,
    (wal_status = 'unreserved')::int as tocsin_pg_replication_slot_unreserved,
    (wal_status = 'lost')::int as tocsin_pg_replication_slot_lost
from pg_replication_slots
where not temporary
