"""Who may come in: people signed in with Supabase Auth and on the allowlist, and machines with service tokens.

Shared by the daemon's own HTTP port and the middleware that a watched application mounts.

    jwt/         access tokens: keys, claims, the memory of verified ones
    live         is the session still there: sign-out, ban, deletion
    allowlist/   who may come in, and with which role; the sign-up gate in Postgres
    door         headers -> Admitted or a Refusal, by the three above
    guard        ASGI middleware that asks a door for every request
    posture      how the project is set up, for `tocsin doctor`
    webhooks     is a hook's call really Supabase's
    tokens       service tokens
    verdicts     Principal, and the refusals: 401 unproven, 403 not allowed, 503 not known now
"""
