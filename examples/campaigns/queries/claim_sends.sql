-- The next sends of running campaigns, locked until the transaction ends; another worker passes over them. A worker
-- that dies gives them back with its transaction. A batch is drawn from as many campaigns as it has places, each with
-- a share, so that a long list does not hold up a short one and four hundred campaigns cost no more than twenty. The
-- campaign's row is share-locked: a pause waits for the batch, so that no mail leaves after it was answered.
with drawn as materialized (
    select id from campaigns where status = 'running' order by random()
    limit %(limit)s
)
select claimed.recipient_id, campaigns.id as campaign_id, recipients.email, campaigns.subject, campaigns.body
from drawn
join campaigns on campaigns.id = drawn.id
cross join lateral (
    select sends.recipient_id
    from sends
    where sends.campaign_id = drawn.id and sends.status = 'pending'
    order by sends.recipient_id
    limit greatest(1, %(limit)s / (select count(*) from drawn))
    for update of sends skip locked
) as claimed
join recipients on recipients.id = claimed.recipient_id
where campaigns.status = 'running'
limit %(limit)s
for share of campaigns skip locked
