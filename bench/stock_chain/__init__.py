"""The stock chain, for comparison in the same run: Prometheus, Alertmanager, blackbox_exporter, postgres_exporter and
mtail from Debian's packages, watching the same stage, tuned as far as it goes (1 s everywhere, group_wait 0).

Its alerts go to a receiver of ours, whose answer to the first `firing` is the moment that counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import yaml
from aiohttp import web

from tocsin.testing.demo import DemoError, Stage
from tocsin.testing.demo.processes import Child
from tocsin.testing.demo.settings import FAILING_PATH, SLOW, SLOW_PATH
from tocsin.testing.peers import peer

ALERTS: Final[Mapping[str, str]] = {
    "slow-query": 'max by (datname) (pg_stat_activity_max_tx_duration{state="active",datname="campaigns"}) > 1',
    "slow-endpoint": f'probe_duration_seconds{{instance=~".*{SLOW_PATH}"}} > {SLOW}',
    "failing-endpoint": f'probe_success{{instance=~".*{FAILING_PATH}"}} == 0',
    # The exporter retries a database that is gone until the scrape is given up, so its own absence is the sign.
    "postgres-killed": 'pg_up == 0 or up{job="postgres"} == 0',
    "sign-in-burst": "sum by (ip) (increase(auth_failures_total[5s])) >= 10",
}
"""Fault → expression. The increase of a counter that appears with its first burst is nothing, which is the point."""

MTAIL_PROGRAM: Final = r"""
counter auth_failures_total by ip
/"error_code":"invalid_credentials".*"remote_addr":"(?P<ip>[^"]+)"/ {
  auth_failures_total[$ip]++
}
"""


@dataclass
class Receiver:
    """Takes Alertmanager's webhooks and notes when each alert began and ended."""

    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    firing: dict[str, float] = field(default_factory=dict)
    address: str = ""

    async def take(self, request: web.Request) -> web.Response:
        body = await request.json()
        at = time.time()
        async with self.changed:
            for alert in body["alerts"]:
                name = alert["labels"]["alertname"]
                if alert["status"] == "firing":
                    self.firing.setdefault(name, at)
                else:
                    self.firing.pop(name, None)
            self.changed.notify_all()
        return web.Response(text="ok")

    async def rang(self, name: str, seconds: float) -> float | None:
        """When `name` was told to fire; None when time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self.changed:
                await self.changed.wait_for(lambda: name in self.firing)
                return self.firing[name]
        return None

    async def fell_silent(self, seconds: float) -> bool:
        """Whether every alert was told to have ended."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self.changed:
                await self.changed.wait_for(lambda: not self.firing)
                return True
        return False


@asynccontextmanager
async def chain_on(stage: Stage, *, interval: str = "1s") -> AsyncIterator[tuple[Receiver, tuple[Child, ...]]]:
    """The chain, watching `stage` until the block ends; `interval` is that of scrapes and rules.

    Raises PeerMissing, DemoError.
    """
    folder = stage.folder / "chain"
    folder.mkdir()
    ports = _free_ports("prometheus", "alertmanager", "blackbox", "postgres", "mtail")
    async with AsyncExitStack() as stack:
        receiver = Receiver()
        await stack.enter_async_context(_listening(receiver))
        files = _write_files(folder, ports, receiver, stage, interval)
        children = []
        for name, command, env in _commands(folder, files, ports, stage):
            child = await Child.start(name, command, folder=folder, env=env)
            stack.push_async_callback(child.stop)
            children.append(child)
        await _all_scraped(stage.http, ports["prometheus"], children)
        yield receiver, tuple(children)


def _commands(
    folder: Path, files: Mapping[str, Path], ports: Mapping[str, int], stage: Stage
) -> list[tuple[str, list[str], dict[str, str]]]:
    def on(name: str) -> str:
        return f"127.0.0.1:{ports[name]}"

    return [
        (
            "postgres_exporter",
            [str(peer("postgres_exporter")), f"--web.listen-address={on('postgres')}", "--log.level=error"],
            {"DATA_SOURCE_NAME": stage.postgres_dsn + " sslmode=disable"},
        ),
        (
            "blackbox_exporter",
            [
                str(peer("blackbox_exporter")),
                f"--config.file={files['blackbox']}",
                f"--web.listen-address={on('blackbox')}",
                "--timeout-offset=0.05",
                "--log.level=error",
            ],
            {},
        ),
        (
            "mtail",
            [
                str(peer("mtail")),
                *("--progs", str(files["mtail"]), "--logs", str(stage.auth_log)),
                *("--address", "127.0.0.1", "--port", str(ports["mtail"]), "--poll_interval", "250ms"),
                *("--poll_log_interval", "250ms", "--logtostderr"),
            ],
            {},
        ),
        (
            "alertmanager",
            [
                *with_its_templates(),
                str(peer("alertmanager")),
                f"--config.file={files['alertmanager']}",
                f"--web.listen-address={on('alertmanager')}",
                f"--storage.path={folder / 'alertmanager-data'}",
                "--cluster.listen-address=",
                "--log.level=error",
            ],
            {},
        ),
        (
            "prometheus",
            [
                str(peer("prometheus")),
                f"--config.file={files['prometheus']}",
                f"--web.listen-address={on('prometheus')}",
                f"--storage.tsdb.path={folder / 'prometheus-data'}",
                "--log.level=error",
            ],
            {},
        ),
    ]


def with_its_templates() -> list[str]:
    """What runs Debian's alertmanager uninstalled: it is shown a /usr/share of its own, with its templates."""
    templates = peer("alertmanager").parents[1] / "share/prometheus/alertmanager"
    script = (
        "mount -t tmpfs none /usr/share && mkdir /usr/share/prometheus && "
        'cp -r "$0" /usr/share/prometheus/alertmanager && exec "$@"'
    )
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    # The copy's source is outside of /usr/share, so the mount does not hide it.
    return ["unshare", *as_root, "--mount", "sh", "-c", script, str(templates)]


def _write_files(
    folder: Path, ports: Mapping[str, int], receiver: Receiver, stage: Stage, interval: str
) -> dict[str, Path]:
    programs = folder / "programs"
    programs.mkdir()
    (programs / "auth.mtail").write_text(MTAIL_PROGRAM)
    module = {
        "prober": "http",
        "timeout": "950ms",
        "http": {
            "preferred_ip_protocol": "ip4",
            "ip_protocol_fallback": False,
            "bearer_token_file": str(stage.auth.token),
        },
    }
    rules = [{"alert": name, "expr": expression} for name, expression in ALERTS.items()]
    route = {
        "receiver": "bench",
        "group_by": ["alertname"],
        "group_wait": "0s",
        "group_interval": "1s",
        "repeat_interval": "4h",
    }
    hook = {"url": receiver.address, "send_resolved": True}
    documents: dict[str, Any] = {
        "blackbox": {"modules": {"http_2xx": module}},
        "rules": {"groups": [{"name": "bench", "rules": rules}]},
        "alertmanager": {"route": route, "receivers": [{"name": "bench", "webhook_configs": [hook]}]},
        "prometheus": _prometheus(folder, ports, stage, interval),
    }
    files = {name: folder / f"{name}.yml" for name in documents}
    for name, document in documents.items():
        files[name].write_text(yaml.safe_dump(document, sort_keys=False))
    return {**files, "mtail": programs}


def _prometheus(folder: Path, ports: Mapping[str, int], stage: Stage, interval: str) -> dict[str, Any]:
    def static(name: str) -> list[dict[str, Any]]:
        return [{"targets": [f"127.0.0.1:{ports[name]}"]}]

    probed = [stage.app + path for path in ("/healthz", FAILING_PATH, SLOW_PATH)]
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": "1s", "evaluation_interval": interval},
        "rule_files": [str(folder / "rules.yml")],
        "alerting": {"alertmanagers": [{"static_configs": static("alertmanager")}]},
        "scrape_configs": [
            {"job_name": "postgres", "static_configs": static("postgres")},
            {"job_name": "mtail", "static_configs": static("mtail")},
            {
                "job_name": "app",
                "authorization": {"credentials": stage.metrics_token},
                "static_configs": [{"targets": [stage.app.removeprefix("http://")]}],
            },
            {
                "job_name": "probe",
                "metrics_path": "/probe",
                "params": {"module": ["http_2xx"]},
                "static_configs": [{"targets": probed}],
                "relabel_configs": [
                    {"source_labels": ["__address__"], "target_label": "__param_target"},
                    {"source_labels": ["__param_target"], "target_label": "instance"},
                    {"target_label": "__address__", "replacement": f"127.0.0.1:{ports['blackbox']}"},
                ],
            },
        ],
    }


@asynccontextmanager
async def _listening(receiver: Receiver) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_post("/", receiver.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.address = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield
    finally:
        await runner.cleanup()


async def _all_scraped(http: aiohttp.ClientSession, port: int, children: list[Child]) -> None:
    """Until Prometheus has every target up and has evaluated its rules."""
    url = f"http://127.0.0.1:{port}/api/v1/query"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(60):
            while all(child.running for child in children):
                with contextlib.suppress(aiohttp.ClientError, json.JSONDecodeError, KeyError):
                    async with http.get(url, params={"query": "sum(up) == 6 and sum(probe_success) == 3"}) as response:
                        if (await response.json())["data"]["result"]:
                            return
                await asyncio.sleep(0.2)
    ended = next((child for child in children if not child.running), children[-1])
    raise DemoError(f"the stock chain did not come up; {ended.name}:\n{ended.tail()}")


def _free_ports(*names: str) -> dict[str, int]:
    """A port each; all are held until the last is found, so that none is given twice."""
    sockets = [socket.socket() for _ in names]
    try:
        for held in sockets:
            held.bind(("127.0.0.1", 0))
        return {name: held.getsockname()[1] for name, held in zip(names, sockets, strict=True)}
    finally:
        for held in sockets:
            held.close()
