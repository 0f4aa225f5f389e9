-- Asked more often than anything else: all that it reads of a send is in the index.
select campaigns.status,
       coalesce(sum(counted.sends), 0)::int as total,
       coalesce(sum(counted.sends) filter (where counted.status = 'pending'), 0)::int as pending,
       coalesce(sum(counted.sends) filter (where counted.status = 'sent'), 0)::int as sent,
       coalesce(sum(counted.sends) filter (where counted.status = 'failed'), 0)::int as failed
from campaigns
left join lateral (
    select sends.status, count(*) as sends from sends where sends.campaign_id = campaigns.id group by sends.status
) as counted on true
where campaigns.id = %(id)s
group by campaigns.id
