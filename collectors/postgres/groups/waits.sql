-- group: waits
-- what: What active client backends wait for, and who talks to the server.
-- labels: wait_event_type, wait_event
-- capability: activity
-- gauge tocsin_pg_waiting_backends: Active client backends that wait for this event; `CPU` for those that run.
select
    coalesce(wait_event_type, 'CPU') as wait_event_type,
    coalesce(wait_event, 'CPU') as wait_event,
    count(*) as tocsin_pg_waiting_backends
from pg_stat_activity
where backend_type = 'client backend' and state = 'active' and pid <> pg_backend_pid()
group by 1, 2
