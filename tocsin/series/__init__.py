"""The embedded time-series store: columns per metric in memory."""

from tocsin.series.store import Refused, Store

__all__ = ["Refused", "Store"]
