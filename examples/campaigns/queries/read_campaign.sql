select id, name, subject, status, created_at, launched_at, paused_at, finished_at,
       (select count(*) from recipients where recipients.campaign_id = campaigns.id) as recipients
from campaigns
where id = %(id)s
