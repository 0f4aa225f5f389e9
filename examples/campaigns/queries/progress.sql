select campaigns.status,
       count(sends.recipient_id) as total,
       count(*) filter (where sends.status = 'pending') as pending,
       count(*) filter (where sends.status = 'sent') as sent,
       count(*) filter (where sends.status = 'failed') as failed
from campaigns left join sends on sends.campaign_id = campaigns.id
where campaigns.id = %(id)s
group by campaigns.id
