-- The role that Tocsin watches Postgres with. Run once per cluster as a superuser (Supabase: as `postgres`):
--   psql "$ADMIN_URL" -v password="$(openssl rand -hex 24)" -f deploy/postgres-role.sql
-- It may look and has nothing to write to: pg_monitor, three connections.

\set ON_ERROR_STOP on
\if :{?password}
\else
  \echo 'Give the password: psql -v password=... -f deploy/postgres-role.sql'
  \quit
\endif

select not exists (select from pg_roles where rolname = 'tocsin') as missing \gset
\if :missing
  create role tocsin login noinherit connection limit 3;
\endif
alter role tocsin password :'password' inherit connection limit 3;
-- Not default_transaction_read_only: Tocsin sets that for its own sessions, and an alert watches the server's value,
-- which a role's setting would hide.
alter role tocsin set statement_timeout = '5s';
alter role tocsin set lock_timeout = '100ms';
alter role tocsin set idle_in_transaction_session_timeout = '10s';
grant pg_monitor to tocsin;

-- From PostgreSQL 16 on a watcher can get in when every ordinary slot is taken, which is when it is needed most.
select current_setting('server_version_num')::int >= 160000 as can_reserve \gset
\if :can_reserve
  grant pg_use_reserved_connections to tocsin;
\endif

-- In each database that is watched: slow statements are found by their statistics too.
create extension if not exists pg_stat_statements;
