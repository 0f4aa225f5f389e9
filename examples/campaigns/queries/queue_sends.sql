-- One send per recipient, whatever was launched before: nobody gets a campaign twice.
insert into sends (recipient_id, campaign_id)
select id, campaign_id from recipients where campaign_id = %(id)s
on conflict (recipient_id) do nothing
