-- A draft with its recipients, in one statement: there is no campaign with half its list.
with campaign as (
    insert into campaigns (name, subject, body, recipients)
    values (%(name)s, %(subject)s, %(body)s, cardinality(%(recipients)s::text[]))
    returning *
), addressed as (
    insert into recipients (campaign_id, email)
    select campaign.id, email from campaign cross join unnest(%(recipients)s::text[]) as email
)
select id, name, subject, status, created_at, launched_at, paused_at, finished_at, recipients from campaign
