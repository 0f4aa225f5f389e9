"""The embedded time-series store: columns per metric in memory, compressed as they age, journaled on disk."""

from tocsin.series.durable import Recovery
from tocsin.series.layered import Layered, read_store
from tocsin.series.store import Refused, Store

__all__ = ["Layered", "Recovery", "Refused", "Store", "read_store"]
