select reason, count(*) as sends
from sends
where campaign_id = %(id)s and status = 'failed'
group by reason
order by sends desc, reason
