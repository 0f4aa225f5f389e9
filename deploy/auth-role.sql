-- The role that Tocsin reads Supabase Auth's tables with (auth_logs, source sql). Run once, in Auth's database, as
-- `postgres`:
--   psql "$ADMIN_URL" -v password="$(openssl rand -hex 24)" -f deploy/auth-role.sql
-- It sees the columns that are asked for and no other: no password, no token, no secret of a second factor. BYPASSRLS is
-- there because Auth's tables have row security and no policy: without it they are empty to every reader. It lets the
-- role see rows only of tables that it has a right to.

\set ON_ERROR_STOP on
\if :{?password}
\else
  \echo 'Give the password: psql -v password=... -f deploy/auth-role.sql'
  \quit
\endif

select not exists (select from pg_roles where rolname = 'tocsin_auth') as missing \gset
\if :missing
  create role tocsin_auth login noinherit connection limit 3;
\endif
alter role tocsin_auth password :'password' bypassrls connection limit 3;
grant usage on schema auth to tocsin_auth;
grant select on auth.audit_log_entries to tocsin_auth;
grant select (id, user_id, created_at, refreshed_at, not_after, aal, ip, user_agent, oauth_client_id)
  on auth.sessions to tocsin_auth;
grant select (created_at, updated_at, revoked) on auth.refresh_tokens to tocsin_auth;
grant select (user_id, status, factor_type) on auth.mfa_factors to tocsin_auth;
grant select (created_at, verified_at) on auth.mfa_challenges to tocsin_auth;
grant select (id, email, created_at, last_sign_in_at, confirmed_at, banned_until, deleted_at, is_anonymous)
  on auth.users to tocsin_auth;
grant select (provider) on auth.identities to tocsin_auth;
grant select (token_type) on auth.one_time_tokens to tocsin_auth;
