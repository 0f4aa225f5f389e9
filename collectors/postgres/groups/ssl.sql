-- group: ssl
-- what: Whether clients that came over the network are encrypted.
-- interval: 60s
-- labels: ssl
-- capability: activity
-- gauge tocsin_pg_ssl_connections: Client backends over TCP, by whether they use TLS.
with backend as (
    select case when ssl then 'on' else 'off' end as ssl
    from pg_stat_activity join pg_stat_ssl using (pid)
    where backend_type = 'client backend' and client_addr is not null and pid <> pg_backend_pid()
)
select choice as ssl, count(backend.ssl) as tocsin_pg_ssl_connections
from unnest(array['on', 'off']) as choice left join backend on backend.ssl = choice
group by choice
