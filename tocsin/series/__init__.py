"""The embedded time-series store: columns per metric in memory, compressed as they age, journaled on disk."""

from tocsin.series.durable import Recovery
from tocsin.series.store import Refused, Store

__all__ = ["Recovery", "Refused", "Store"]
