-- group: server
-- what: What answers: its version, since when, and in which role.
-- labels: version, short_version
-- gauge pg_static: 1, with the version in its labels.
-- gauge pg_postmaster_start_time_seconds without labels: When the server was started, as a Unix time.
-- gauge pg_replication_is_replica without labels: 1 if the server is in recovery (a standby), else 0.
-- gauge tocsin_pg_config_load_time_seconds without labels: When the configuration was loaded last, as a Unix time.
select
    split_part(version(), ' on ', 1) as version,
    split_part(current_setting('server_version'), ' ', 1) as short_version,
    1 as pg_static,
    extract(epoch from pg_postmaster_start_time())::float8 as pg_postmaster_start_time_seconds,
    pg_is_in_recovery()::int as pg_replication_is_replica,
    extract(epoch from pg_conf_load_time())::float8 as tocsin_pg_config_load_time_seconds
