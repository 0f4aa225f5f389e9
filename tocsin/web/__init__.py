"""The daemon's one HTTP port.

`/healthz` and `/readyz` are public and say a word; whatever else is asked for wants a credential, and a route that
names no scope can't be declared.
"""
