update sends
set status = outcome.status, reason = outcome.reason, settled_at = now()
from unnest(%(recipients)s::bigint[], %(statuses)s::text[], %(reasons)s::text[]) as outcome (recipient_id, status, reason)
where sends.recipient_id = outcome.recipient_id
