-- Processes that start together prepare the schema one after the other: `create … if not exists` alone may race.
select pg_advisory_xact_lock(hashtext('examples.campaigns.schema'))
