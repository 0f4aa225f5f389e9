-- group: wraparound
-- what: How far each database is from transaction id and multixact wraparound (2^31).
-- interval: 60s
-- labels: datname
-- gauge tocsin_pg_xid_age also pg_database_wraparound_age_datfrozenxid_seconds: Age of datfrozenxid, in transactions.
-- gauge tocsin_pg_mxid_age also pg_database_wraparound_age_datminmxid_seconds: Age of datminmxid, in multixacts.
select
    datname,
    age(datfrozenxid) as tocsin_pg_xid_age,
    mxid_age(datminmxid) as tocsin_pg_mxid_age
from pg_database
