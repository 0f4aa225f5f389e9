-- group: database_sessions
-- what: How sessions of each database spent their time and how they ended.
-- versions: 14..
-- labels: datid, datname
-- counter pg_stat_database_session_time_seconds_total: Time that sessions existed.
-- counter pg_stat_database_active_time_seconds_total: Time that sessions ran statements.
-- counter pg_stat_database_idle_in_transaction_time_seconds_total: Time that sessions idled inside a transaction.
-- counter pg_stat_database_sessions_total: Sessions established.
-- counter pg_stat_database_sessions_abandoned_total: Sessions that ended because the client was lost.
-- counter pg_stat_database_sessions_fatal_total: Sessions that ended with a fatal error.
-- counter pg_stat_database_sessions_killed_total: Sessions that an operator ended.
select
    datid, datname,
    session_time / 1000 as pg_stat_database_session_time_seconds_total,
    active_time / 1000 as pg_stat_database_active_time_seconds_total,
    idle_in_transaction_time / 1000 as pg_stat_database_idle_in_transaction_time_seconds_total,
    sessions as pg_stat_database_sessions_total,
    sessions_abandoned as pg_stat_database_sessions_abandoned_total,
    sessions_fatal as pg_stat_database_sessions_fatal_total,
    sessions_killed as pg_stat_database_sessions_killed_total
from pg_stat_database
where datname is not null
