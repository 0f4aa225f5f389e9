update campaigns set status = 'paused', paused_at = now() where id = %(id)s
