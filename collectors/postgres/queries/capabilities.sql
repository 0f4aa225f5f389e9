-- What this role may see. pg_has_role(…, 'usage') is true for superusers.
select
    current_user as role,
    current_database() as database,
    pg_has_role('pg_read_all_stats', 'usage') as activity,
    current_setting('track_activities') = 'on' as track_activities,
    has_function_privilege('pg_ls_waldir()', 'execute') as wal_directory,
    pg_has_role('pg_read_all_stats', 'usage')
        or (select bool_and(has_database_privilege(oid, 'connect')) from pg_database where datallowconn)
        as database_sizes,
    (select extnamespace::regnamespace::text from pg_extension where extname = 'pg_stat_statements')
        as statements_schema,
    (select has_schema_privilege(extnamespace, 'usage') from pg_extension where extname = 'pg_stat_statements')
        as statements_usage,
    current_setting('pg_stat_statements.track', true) as statements_track,
    coalesce(current_setting('pg_stat_statements.track_utility', true) = 'on', false) as statements_utility,
    coalesce(current_setting('compute_query_id', true), 'off') in ('on', 'auto', 'regress') as query_ids,
    current_setting('track_io_timing') = 'on' as io_timing,
    -- case, not and: the planner may ask has_sequence_privilege first, which fails for a table.
    (select count(*) from pg_class
        where case when relkind = 'S' then not has_sequence_privilege(oid, 'select, usage') else false end)
        as hidden_sequences,
    exists (select from pg_roles where rolname = 'pg_use_reserved_connections' and pg_has_role(oid, 'usage'))
        as reserved_connections
