-- Running campaigns with nothing left to deliver are done.
update campaigns set status = 'finished', finished_at = now()
where status = 'running'
  and not exists (select from sends where sends.campaign_id = campaigns.id and sends.status = 'pending')
returning id
