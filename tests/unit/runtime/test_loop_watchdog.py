"""The thread that watches the loop, and the word to systemd."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

from tocsin.runtime.watchdog import LoopWatchdog
from tocsin.telemetry.metrics import Telemetry


async def test_systemd_hears_of_a_loop_that_runs_and_not_of_one_that_stands_still(tmp_path: Path) -> None:
    """READY once, WATCHDOG while it runs; nothing while it is blocked, so that systemd may start it again."""
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.setblocking(False)
        telemetry = Telemetry()
        watchdog = LoopWatchdog(telemetry, environ={"NOTIFY_SOCKET": str(address)}, stalled=0.2, beat=0.02)
        watchdog.start()
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(20):
            first = [await loop.sock_recv(manager, 100) for _ in range(3)]
        time.sleep(0.6)
        heard = b""
        while True:
            try:
                heard += manager.recv(100)
            except BlockingIOError:
                break
        stalls = telemetry.registry.get_sample_value("tocsin_loop_stalls_total", {"kind": "blocked"})
        watchdog.stop()
        last = manager.recv(100)
    assert (first, stalls) == ([b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"], 1)
    assert heard.count(b"WATCHDOG=1") <= 12  # of the 30 that 0.6 s would have had
    assert last == b"STOPPING=1"
