"""A real time-series server of Debian's as a remote-write receiver: started, stopped, killed and started again.

async with TimeSeriesServer("prometheus", folder) as server:      # or "victoria-metrics"
    await server.query("up", at)
    await server.stop(); await server.start()                     # the same port and data
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import aiohttp

from tocsin.testing.peers import peer

PATIENCE: Final = 30.0


class TimeSeriesServer:
    """One server process on a port of its own."""

    def __init__(self, kind: str, folder: Path, *, out_of_order: str = "30m") -> None:
        """`out_of_order`: how far back Prometheus takes samples."""
        self.kind = kind
        self.folder = folder
        self.port = 0
        self.process: asyncio.subprocess.Process | None = None
        self._program = peer(kind)
        self._out_of_order = out_of_order

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def write_url(self) -> str:
        """Where remote write goes."""
        return f"{self.url}/api/v1/write"

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop(signal.SIGKILL)

    async def start(self) -> None:
        """Start it, on the port of before if there was one, and wait until it answers there."""
        for _ in range(5):
            port = self.port or _free_port()
            with (self.folder / "log").open("ab") as log:
                self.process = await asyncio.create_subprocess_exec(
                    str(self._program), *self._arguments(port), stdout=log, stderr=log
                )
            if await self._is_up(port):
                self.port = port
                return
            await self.stop(signal.SIGKILL)
        raise RuntimeError(f"{self.kind} did not come up: {(self.folder / 'log').read_text('utf-8', 'replace')[-500:]}")

    def _arguments(self, port: int) -> list[str]:
        if self.kind == "victoria-metrics":
            return [f"-storageDataPath={self.folder / 'data'}", f"-httpListenAddr=127.0.0.1:{port}"]
        config = self.folder / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1h}\n"
            f"storage: {{tsdb: {{out_of_order_time_window: {self._out_of_order}}}}}\n"
        )  # fmt: skip
        return [
            f"--config.file={config}", f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver", "--log.level=warn",
        ]  # fmt: skip

    async def _is_up(self, port: int) -> bool:
        assert self.process is not None
        path = "/-/ready" if self.kind == "prometheus" else "/health"
        deadline = asyncio.get_running_loop().time() + PATIENCE
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while self.process.returncode is None and asyncio.get_running_loop().time() < deadline:
                try:
                    async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                        if answer.status == 200:
                            # Somebody else may have taken the port between the look and the start.
                            return _listens(self.process.pid, port)
                except (aiohttp.ClientError, OSError, TimeoutError):
                    pass
                await asyncio.sleep(0.05)
        return False

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it and wait until it is gone."""
        process, self.process = self.process, None
        if process is None:
            return
        if process.returncode is None:
            process.send_signal(number)
        async with asyncio.timeout(PATIENCE):
            await process.wait()

    async def query(self, expression: str, at: float) -> list[dict[str, Any]]:
        """The `result` of an instant query."""
        form = {"query": expression, "time": f"{at:.3f}", "nocache": "1", "latency_offset": "1ms"}
        found: list[dict[str, Any]] = (await self._get("/api/v1/query", form))["data"]["result"]
        return found

    async def samples(self, metric: str, at: float, window: str = "1h") -> dict[str, list[tuple[float, str]]]:
        """Every stored sample up to `at`: series, by its `series` label → [(time, value as text)]."""
        found = await self.query(f"{metric}[{window}]", at)
        return {each["metric"]["series"]: [(time, value) for time, value in each["values"]] for each in found}

    async def _get(self, path: str, form: Mapping[str, str]) -> dict[str, Any]:
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}{path}", params=form) as answer:
            body: dict[str, Any] = await answer.json(content_type=None)
            return body


def _free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port: int = chosen.getsockname()[1]
        return port


def _listens(pid: int, port: int) -> bool:
    """Whether that process holds the listening socket of 127.0.0.1:port (Linux: /proc)."""
    wanted = f"0100007F:{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {f"socket:[{row[9]}]" for row in rows if row[1] == wanted and row[3] == "0A"}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if str(link.readlink()) in inodes:
                return True
        except OSError:
            continue
    return False
