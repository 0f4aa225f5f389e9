"""The demo: an application, what it stands on, the daemon, and faults, all on this machine.

    async with set_stage() as stage:                # Postgres, the app, Supabase Auth, Slack, the daemon
        outcome = await perform(FAULTS["slow-query"], stage)

`tocsin demo` runs it for people, the end-to-end tests and bench/latency.py for figures. Nothing is simulated but Slack
and Supabase Auth, which are stand-ins over real HTTP: the daemon is the one that ships, as a process of its own.

    processes   children that end with us, however we end
    leash       what makes them
    stage       who is on it: starting, addresses, stopping
    settings    the config.yaml that the demo's daemon reads
    traffic     users who sign in and read campaigns all the while
    faults      what can go wrong, and how it is mended
    channel     what the channel says: posted, edited, resolved
    journal     what the daemon's log says: when it decided
    outcome     a fault from injection to its end: what happened when, and whether it was told once
    show        the lines that `tocsin demo` prints
"""

from tocsin.testing.demo.faults import FAULTS, Fault
from tocsin.testing.demo.outcome import Outcome, perform
from tocsin.testing.demo.processes import DemoError
from tocsin.testing.demo.stage import Stage, set_stage

__all__ = ["FAULTS", "DemoError", "Fault", "Outcome", "Stage", "perform", "set_stage"]
