-- The next sends of running campaigns, locked until the transaction ends; another worker passes over them. A worker
-- that dies gives them back with its transaction. Each running campaign gets a share of the batch, so that a long list
-- does not hold up a short one. The campaign's row is share-locked: a pause waits for the batch, so that no mail leaves
-- after it was answered.
select claimed.recipient_id, campaigns.id as campaign_id, recipients.email, campaigns.subject, campaigns.body
from campaigns
cross join lateral (
    select sends.recipient_id
    from sends
    where sends.campaign_id = campaigns.id and sends.status = 'pending'
    order by sends.recipient_id
    limit greatest(1, %(limit)s / (select count(*) from campaigns as running where running.status = 'running'))
    for update of sends skip locked
) as claimed
join recipients on recipients.id = claimed.recipient_id
where campaigns.status = 'running'
order by random()
limit %(limit)s
for share of campaigns skip locked
