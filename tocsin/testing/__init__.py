"""What tests and the demo stand on: a real Postgres, stand-ins for what lives elsewhere (Slack, hosted Supabase), and
clocks that obey.

Shipped with Tocsin, because whoever writes a collector or notifier needs them too. Nothing of the daemon imports it.
"""
