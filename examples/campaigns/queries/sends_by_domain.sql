-- The twenty domains with the most recipients. The campaign is named on both sides: without it all recipients of all
-- campaigns are read to join those of one.
select split_part(recipients.email, '@', 2) as domain,
       count(*) as sends,
       count(*) filter (where sends.status = 'sent') as sent,
       count(*) filter (where sends.status = 'failed') as failed
from sends join recipients on recipients.id = sends.recipient_id and recipients.campaign_id = sends.campaign_id
where sends.campaign_id = %(id)s
group by domain
order by sends desc, domain
limit 20
