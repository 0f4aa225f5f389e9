-- group: xmin_horizon
-- what: Who keeps vacuum from removing dead rows, and by how many transactions.
-- labels: holder
-- capability: activity
-- gauge tocsin_pg_xmin_horizon_age_xids: Transactions since the oldest snapshot that this kind of holder needs; 0 for none.
select 'backend' as holder,
    coalesce(max(greatest(age(backend_xmin), age(backend_xid))), 0)::float8 as tocsin_pg_xmin_horizon_age_xids
from pg_stat_activity where pid <> pg_backend_pid() and backend_type <> 'walsender'
union all
select 'standby', coalesce(max(age(backend_xmin)), 0)::float8 from pg_stat_replication
union all
select 'slot', coalesce(max(greatest(age(xmin), age(catalog_xmin))), 0)::float8 from pg_replication_slots
union all
select 'prepared', coalesce(max(age(transaction)), 0)::float8 from pg_prepared_xacts
