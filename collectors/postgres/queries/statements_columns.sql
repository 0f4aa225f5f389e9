-- Which columns this version of the extension has.
select attname
from pg_attribute
where attrelid = to_regclass({schema_literal} || '.pg_stat_statements') and attnum > 0 and not attisdropped
