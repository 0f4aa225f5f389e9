"""Limits: how large a body may be, how long an answer may take, how many requests are served at once; of WebSockets how
large a message, how long until it is accepted, how many are open.

Each is a middleware of its own: `Body` (413), `Time` (504), `Concurrency` (503 with Retry-After).
"""

from tocsin.asgi.limits.body import Body
from tocsin.asgi.limits.concurrency import Concurrency
from tocsin.asgi.limits.time import Time

__all__ = ["Body", "Concurrency", "Time"]
