
-- Who may ask: Supabase Auth, and nobody else.
revoke all on schema {{gate}} from public;
grant usage on schema {{gate}} to supabase_auth_admin;
revoke execute on all functions in schema {{gate}} from public;
grant execute on all functions in schema {{gate}} to supabase_auth_admin;
do $gate$
declare
    client text;
begin
    for client in select rolname from pg_catalog.pg_roles where rolname in ('anon', 'authenticated') loop
        execute format('revoke all on schema {{gate}} from %I', client);
        execute format('revoke execute on all functions in schema {{gate}} from %I', client);
    end loop;
end
$gate$;
grant usage on schema {{state}} to supabase_auth_admin;
grant select on {{state}}.allowlist, {{state}}.allowlist_settings to supabase_auth_admin;
drop policy if exists tocsin_gate_reads on {{state}}.allowlist;
create policy tocsin_gate_reads on {{state}}.allowlist for select to supabase_auth_admin using (true);
drop policy if exists tocsin_gate_reads on {{state}}.allowlist_settings;
create policy tocsin_gate_reads on {{state}}.allowlist_settings for select to supabase_auth_admin using (true);
