-- How often the extension had to forget statements (14 and later, extension 1.9 and later).
select dealloc from {schema}.pg_stat_statements_info
