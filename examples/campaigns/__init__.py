"""Campaigns: a small mailing service on Postgres, there to be watched.

A campaign is drafted with its recipients, launched, paused, launched again, and ends as a report. A worker delivers the
sends of running campaigns. Run it:

    DATABASE_URL=postgresql://… TOCSIN_APP_SUPABASE_URL=https://REF.supabase.co TOCSIN_APP_ALLOWLIST=allowlist.csv \\
        python -m examples.campaigns --prepare --seed

It prints one JSON line with its address. Everything but /healthz wants a Supabase token of somebody on the allowlist
(`tocsin.asgi.protect`; `TOCSIN_APP_SUPABASE_URL=off` opens it), /metrics the token in TOCSIN_APP_METRICS_TOKEN. What it
offers:

    GET  /                            what it is, and where things are
    GET  /healthz                     200 while the database answers, else 503
    GET  /metrics                     requests, latency by route template, errors by category, sends
    GET  /campaigns?status=&limit=&before=    newest first
    POST /campaigns                   {"name", "subject", "body", "recipients": [addresses]}
    GET  /campaigns/ID
    POST /campaigns/ID/recipients     {"recipients": [addresses]}, while it is a draft
    POST /campaigns/ID/launch         a draft or a paused one
    POST /campaigns/ID/pause
    GET  /campaigns/ID/progress       counts by state
    GET  /campaigns/ID/report         counts, failures by reason and by domain, pace

An error is `application/problem+json` (RFC 9457) and says what to change. Postgres down is a 503 within a second, never
a hanging request. `rules/` holds the alert rules that the demo watches it with. TOCSIN_APP_OTLP_ENDPOINT traces it:
requests with their statements and waits for a connection, and the worker's batches; SENTRY_DSN reports its errors.
"""
