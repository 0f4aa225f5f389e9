-- An address that is there already stays as it is; the count is of the new ones.
with added as (
    insert into recipients (campaign_id, email)
    select %(id)s, email from unnest(%(recipients)s::text[]) as email
    on conflict (campaign_id, email) do nothing
    returning 1
), counted as (
    update campaigns set recipients = recipients + (select count(*) from added) where id = %(id)s
)
select count(*) as added from added
