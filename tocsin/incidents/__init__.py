"""Incidents: from alert transitions to what is said, to whom, and why. Pure: `now` is an argument.

The state is one immutable `Book`. Every entry point takes a book and gives an `Outcome`, which holds the next book and
what must be stored and queued with it, in one transaction:

    react(book, transitions, now)   alerts began, changed or ended
    tick(book, now)                 time alone brought something about: a digest's hour, an escalation, a silence's end
    ack / resolve / silence / expire / retire / reconfigure   what people and reloads do
    heard(book, correction, now)    delivery told somebody else (fail-over), or nobody (a withdrawn post)

`Outcome.next_look` is when `tick` has something to do, if nothing happens before.

Where to read: `routes` (who is told about what), `membership` and `grouping` (which incident), `policy` (what to do
now: a tuple of small rules, the first that speaks wins), `dues` (when time alone could change that), `telling` (policy
asked for each destination), `calls` (a decision → calls to a destination). Inside an entry point the book is a `draft`
that is changed in place.
"""

from __future__ import annotations

from tocsin.incidents.book import Book, Decided, Outcome, Plan, adopt, restore
from tocsin.incidents.desk import ack, heard, react, reconfigure, resolve, retire, silence, tick
from tocsin.incidents.told import Budget, Correction, Destination, Told

__all__ = [
    "Book", "Budget", "Correction", "Decided", "Destination", "Outcome", "Plan", "Told",
    "ack", "adopt", "heard", "react", "reconfigure", "resolve", "restore", "retire", "silence", "tick",
]  # fmt: skip
