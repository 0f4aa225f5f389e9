-- An address that is there already stays as it is; the count is of the new ones.
insert into recipients (campaign_id, email)
select %(id)s, email from unnest(%(recipients)s::text[]) as email
on conflict (campaign_id, email) do nothing
