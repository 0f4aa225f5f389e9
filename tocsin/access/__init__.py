"""Who may come in: service tokens for machines (and, on top of Supabase Auth, people).

Shared by the daemon's own HTTP port and the middleware that a watched application mounts.
"""
