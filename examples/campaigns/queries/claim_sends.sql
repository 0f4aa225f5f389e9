-- The next sends of running campaigns, locked until the transaction ends; another worker passes over them. A worker
-- that dies gives them back with its transaction. The campaign's row is share-locked: a pause waits for the batch,
-- so that no mail leaves after it was answered.
select sends.recipient_id, sends.campaign_id, recipients.email, campaigns.subject, campaigns.body
from sends
join campaigns on campaigns.id = sends.campaign_id
join recipients on recipients.id = sends.recipient_id
where sends.status = 'pending' and campaigns.status = 'running'
order by sends.campaign_id, sends.recipient_id
limit %(limit)s
for update of sends skip locked
for share of campaigns skip locked
