"""The series' way to bigger places: remote write, and rules evaluated on a Prometheus-compatible server.

    series:
      remote_write:
        - {name: vm, url: "https://vm.example/api/v1/write", bearer_token_env: VM_TOKEN}
      engine: {prometheus: "https://vm.example", bearer_token_env: VM_TOKEN}

remote_write. Whatever the embedded store takes (polls, staleness markers, the synthetic zero of a new counter, recorded
series, Tocsin's own metrics) goes into a queue on disk per destination and from there, as Prometheus remote write 1.0,
to the receiver. At least once, in order within a series, across the end of either side; see shipper.py and queue.py.

engine. Rules are asked of that server, over /api/v1/query, when what the poll brought has been acknowledged there. The
embedded store stays: for /metrics, for what collectors ask, and as what is left when the server is not. A server that
can't be asked, answers in part, or was not given the samples makes results unknown: alerts are frozen, never resolved.
See engine.py and inquiry.py.
"""

from tocsin.series.remote.position import Split
from tocsin.series.remote.shipper import Destination, Shipper

__all__ = ["Destination", "Shipper", "Split"]
