-- group: applications
-- what: Connections by application: the 20 with most, and the rest as `other`.
-- labels: application_name
-- capability: activity
-- gauge tocsin_pg_application_connections: Client backends of this application_name.
with counted as (
    select coalesce(nullif(application_name, ''), 'unnamed') as application, count(*) as backends
    from pg_stat_activity
    where backend_type = 'client backend' and pid <> pg_backend_pid()
    group by 1
), ranked as (
    select application, backends, row_number() over (order by backends desc, application) as place
    from counted
)
select
    case when place <= 20 then application else 'other' end as application_name,
    sum(backends) as tocsin_pg_application_connections
from ranked
group by 1
