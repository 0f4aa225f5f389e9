"""The config.yaml that the demo's daemon reads: what a small team would write, with polls of one second."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

POSTGRES_DSN: Final = "TOCSIN_DEMO_POSTGRES"
SLACK_TOKEN: Final = "TOCSIN_DEMO_SLACK_TOKEN"
METRICS_TOKEN: Final = "TOCSIN_DEMO_METRICS_TOKEN"
CHANNEL: Final = "C0ALERTS"
SERVICE: Final = "campaigns"
AUTH_SERVICE: Final = "campaigns-auth"
SLOW: Final = 0.4
"""Seconds after which an endpoint counts as slow, and a probe is told as failed."""
OBJECTIVE: Final = 99.9
"""Percent of probes that are to be good: what the dashboard of objectives shows the budget of."""
SLOW_PATH: Final = "/campaigns/1/report"
FAILING_PATH: Final = "/campaigns"
FLAP_WINDOW: Final = 1.0
"""Seconds. Short, because the demo's faults follow each other faster than real ones: each is to be its own message."""


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where the daemon finds what it watches and whom it tells."""

    app: str
    slack: str
    auth_log: Path
    user_token: Path
    """A file with the access token of a user, which the probes use."""
    rules: Path


def configuration(addresses: Addresses, *, interval: str = "1s", console: str = "") -> dict[str, Any]:
    """The configuration as data. Secrets are named by variable, never written."""
    labels = {"service": SERVICE}
    paths = {"healthz": "/healthz", "campaigns": FAILING_PATH, "report": SLOW_PATH}
    targets = [
        {
            "url": addresses.app + path,
            "name": name,
            "bearer_token_file": str(addresses.user_token),
            "expect": {"status": 200, "max_seconds": SLOW},
            "slo": OBJECTIVE,
        }
        for name, path in paths.items()
    ]
    return {
        **({"external_url": console} if console else {}),
        "collectors": [
            {"kind": "postgres", "name": "database", "dsn_env": POSTGRES_DSN, "interval": interval, "labels": labels},
            {"kind": "endpoint", "name": "web", "interval": interval, "labels": labels, "targets": targets},
            {
                "kind": "scrape",
                "name": "app",
                "interval": interval,
                "labels": labels,
                "targets": [{"url": addresses.app + "/metrics", "bearer_token_env": METRICS_TOKEN}],
            },
            {
                "kind": "auth_logs",
                "name": "auth",
                "interval": interval,
                "labels": {"service": AUTH_SERVICE},
                "source": {"file": str(addresses.auth_log)},
            },
        ],
        "rules": [str(addresses.rules / "*.yaml")],
        "routes": [
            # The database and the pages that need it are one service, so a database that is down is one incident,
            # whatever else fails with it.
            {
                "match": {"severity": "P0|P1"},
                "notify": ["slack"],
                "group_by": ["service"],
                "flap_window": f"{FLAP_WINDOW:g}s",
            },
            {"match": {"severity": "P2|P3"}, "digest": "daily", "notify": ["slack"]},
        ],
        "notifiers": [
            {
                "kind": "slack",
                "name": "slack",
                "channel": CHANNEL,
                "token_env": SLACK_TOKEN,
                "base_url": addresses.slack,
                # The demo makes more trouble in an hour than a team has in a month, and each is to be seen.
                "budget": {"burst": 1000, "every": "1s"},
            }
        ],
        "series": {"retention": "1h"},
        "state": {"url": "sqlite:///tocsin.db"},
        "web": {"listen": "127.0.0.1:0"},
    }


def write_configuration(path: Path, addresses: Addresses, *, interval: str = "1s", console: str = "") -> Path:
    """`configuration` as a file. `console`: the daemon's own address, which messages link to, once it is known."""
    head = "# What the demo's daemon reads. Written anew at each start.\n"
    data = configuration(addresses, interval=interval, console=console)
    path.write_text(head + yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120), encoding="utf-8")
    return path
