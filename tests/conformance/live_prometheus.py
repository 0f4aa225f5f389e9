"""A real Prometheus (Debian's) with samples of our choosing: started on a free port, filled by remote write, asked.

with LivePrometheus() as peer:
    peer.write(series)                       # [(labels, times in ms, values)]
    answer = peer.query("up", at)            # the API's `data`
"""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import snappy
from numpy.typing import NDArray

from tocsin.testing.peers import peer

Series = tuple[dict[str, str], NDArray[np.int64], NDArray[np.float64]]

_PER_REQUEST = 200_000
"""Samples in one remote-write request."""


class Refusal(Exception):
    """Prometheus answered with an error."""


class LivePrometheus:
    """A running Prometheus with an empty database."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="prometheus-")
        folder = Path(self._folder.name)
        (folder / "prometheus.yml").write_text("global: {scrape_interval: 15s}\n")
        with socket.socket() as chosen:
            chosen.bind(("127.0.0.1", 0))
            port = chosen.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [
                str(peer("prometheus")),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--web.enable-remote-write-receiver",
                "--enable-feature=promql-negative-offset,promql-at-modifier",
                "--query.max-samples=500000000",
                "--query.timeout=5m",
                "--log.level=error",
            ],
            stdout=self._log,
            stderr=self._log,
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1):
                    return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    log = (folder / "log").read_text("utf-8", "replace")
                    self.__exit__()
                    raise RuntimeError(f"Prometheus did not come up: {log[-500:]}") from None
                time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()
        self._folder.cleanup()

    def write(self, series: Iterable[Series]) -> None:
        """Remote write; each series' samples in order of time."""
        body: list[bytes] = []
        samples = 0
        for labels, times, values in series:
            body.append(_message(1, _labels(labels) + _samples(times, values)))
            samples += len(times)
            if samples >= _PER_REQUEST:
                self._send(b"".join(body))
                body, samples = [], 0
        if body:
            self._send(b"".join(body))

    def _send(self, body: bytes) -> None:
        headers = {
            "Content-Encoding": "snappy",
            "Content-Type": "application/x-protobuf",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        }
        request = urllib.request.Request(f"{self.url}/api/v1/write", snappy.compress(body), headers)
        try:
            with urllib.request.urlopen(request, timeout=120):
                return
        except urllib.error.HTTPError as error:
            raise Refusal(error.read().decode("utf-8", "replace")) from None

    def query(self, expression: str, at: float, **more: str) -> dict[str, Any]:
        """An instant query's `data`. Raises Refusal."""
        return self._ask("query", {"query": expression, "time": f"{at:.3f}", **more})

    def query_range(self, expression: str, start: float, end: float, step: float, **more: str) -> dict[str, Any]:
        """A range query's `data`. Raises Refusal."""
        form = {"query": expression, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step}", **more}
        return self._ask("query_range", form)

    def _ask(self, what: str, form: dict[str, str]) -> dict[str, Any]:
        data = urllib.parse.urlencode(form).encode()
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{what}", data, timeout=300) as answer:
                return json.load(answer)["data"]  # type: ignore[no-any-return]
        except urllib.error.HTTPError as error:
            raise Refusal(json.loads(error.read())["error"]) from None

    @property
    def rss(self) -> int:
        """Bytes of resident memory."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0


# Protobuf by hand: prometheus/prompb/types.proto, WriteRequest -------------------------------------------------------


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _message(field: int, body: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(body)) + body


def _labels(labels: dict[str, str]) -> bytes:
    return b"".join(
        _message(1, _message(1, name.encode()) + _message(2, labels[name].encode())) for name in sorted(labels)
    )


def _samples(times: Sequence[int] | NDArray[np.int64], values: NDArray[np.float64]) -> bytes:
    """All samples at once: times of this age are varints of six bytes."""
    stamps = np.asarray(times, np.int64)
    assert ((stamps >= 1 << 35) & (stamps < 1 << 42)).all()
    raw = np.zeros((len(stamps), 18), np.uint8)
    raw[:, 0], raw[:, 1], raw[:, 2], raw[:, 11] = 2 << 3 | 2, 16, 1 << 3 | 1, 2 << 3
    raw[:, 3:11] = np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(-1, 8)
    for place in range(6):
        raw[:, 12 + place] = (stamps >> (7 * place)) & 0x7F | (0x80 if place < 5 else 0)
    return raw.tobytes()
