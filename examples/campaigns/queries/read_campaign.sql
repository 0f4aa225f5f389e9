select id, name, subject, status, created_at, launched_at, paused_at, finished_at, recipients
from campaigns
where id = %(id)s
