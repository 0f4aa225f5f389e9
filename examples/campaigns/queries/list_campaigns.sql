-- Newest first; `before` is the last id of the page before.
select id, name, subject, status, created_at, launched_at, paused_at, finished_at, recipients
from campaigns
where (%(status)s::text is null or status = %(status)s) and (%(before)s::bigint is null or id < %(before)s)
order by id desc
limit %(limit)s
