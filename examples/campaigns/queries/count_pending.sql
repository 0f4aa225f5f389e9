-- The backlog of the campaigns that run.
select count(*) as pending
from sends join campaigns on campaigns.id = sends.campaign_id
where sends.status = 'pending' and campaigns.status = 'running'
