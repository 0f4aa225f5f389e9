-- Running campaigns with nothing left to deliver are done; of those named, or of all.
update campaigns set status = 'finished', finished_at = now()
where status = 'running'
  and (%(ids)s::bigint[] is null or id = any(%(ids)s))
  and not exists (select from sends where sends.campaign_id = campaigns.id and sends.status = 'pending')
returning id
