update campaigns set status = 'running', launched_at = coalesce(launched_at, now()), paused_at = null where id = %(id)s
