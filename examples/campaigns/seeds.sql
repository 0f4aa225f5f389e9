-- Three campaigns to look at: one done, one on its way, one still a draft. Does nothing where campaigns exist.
with drafted as (
    insert into campaigns (name, subject, body, status, created_at, launched_at, finished_at, recipients)
    select seed.*, 300 from (values
        ('Spring newsletter', 'What is new this spring', 'Dear reader, …', 'finished',
         now() - interval '9 days', now() - interval '8 days', now() - interval '8 days' + interval '21 minutes'),
        ('Summer sale', 'Thirty percent until Sunday', 'Dear customer, …', 'running',
         now() - interval '2 hours', now() - interval '1 hour', null),
        ('Autumn survey', 'Three questions', 'Dear reader, …', 'draft',
         now() - interval '5 minutes', null::timestamptz, null::timestamptz)
    ) as seed
    where not exists (select from campaigns)
    returning id, status
), addressed as (
    insert into recipients (campaign_id, email)
    select drafted.id, format('reader%s@%s', n, (array['example.com', 'example.org', 'mail.example'])[1 + n % 3])
    from drafted cross join generate_series(1, 300) as n
    returning id, campaign_id
)
insert into sends (recipient_id, campaign_id, status, settled_at)
select addressed.id, addressed.campaign_id,
       case when drafted.status = 'finished' then 'sent' else 'pending' end,
       case when drafted.status = 'finished' then now() - interval '8 days' end
from addressed join drafted on drafted.id = addressed.campaign_id
where drafted.status <> 'draft';
