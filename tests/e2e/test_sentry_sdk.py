"""A real Sentry SDK, and our own layers, report to a real daemon: the error is a series, and no stranger's is."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from prometheus_client import CollectorRegistry

from tests.asgi.alone import nothing, nowhere, scope
from tests.asgi.frameworks import Kept
from tests.faults.conftest import DaemonProcess
from tocsin.access.tokens import Scope, mint
from tocsin.asgi import Lines, protect
from tocsin.state import State
from tocsin.testing.slack import FakeSlack
from tocsin.testing.waiting import eventually

KEY = "a5f0c3d29be14c7788aa"
PROGRAM = """
import sys, sentry_sdk
sentry_sdk.init(dsn=sys.argv[1], environment="live", default_integrations=False)
def add(order):
    raise ValueError(f"order of {order}")
for _ in range(3):
    try:
        add("ana@example.com")
    except ValueError as error:
        sentry_sdk.set_tag("tocsin.category", "validation")
        sentry_sdk.capture_exception(error)
sentry_sdk.flush(5)
"""


async def test_an_sdks_errors_are_counted_by_fingerprint(tmp_path: Path) -> None:
    """With the DSN's key; with another one nothing is, and nothing else of the port opens by it."""
    config = {
        "collectors": [{"kind": "sentry", "name": "errors", "interval": "200ms", "project": 7, "key_env": "KEY"}],
        "rules": [], "routes": [{"match": {}, "notify": ["log"]}],
        "notifiers": [{"kind": "console", "name": "log"}], "web": {"listen": "127.0.0.1:0"},
        "telemetry": {"log_format": "json"},
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    (tmp_path / "program.py").write_text(PROGRAM)
    state = await State.open(f"sqlite:///{tmp_path / 'tocsin.db'}")
    token, row = mint([Scope.QUERY_READ], datetime.now(UTC))
    await state.tokens.put(row)
    await state.close()
    daemon = DaemonProcess(tmp_path, {"KEY": KEY})
    await daemon.start()
    try:
        for key, project in ((KEY, 7), ("another key, not ours", 7), (KEY, 8)):
            dsn = f"http://{key.replace(' ', '')}@{daemon.address}/{project}"
            subprocess.run([sys.executable, "program.py", dsn], cwd=tmp_path, check=True, timeout=60)
        async with ClientSession(f"http://{daemon.address}") as http:

            async def counted() -> list[tuple[dict[str, str], str]]:
                asked = {"query": "tocsin_sentry_error_occurrences_total"}
                async with http.get(
                    "/api/v1/query", params=asked, headers={"Authorization": f"Bearer {token}"}
                ) as answer:
                    result = (await answer.json())["data"]["result"]
                return [(one["metric"], one["value"][1]) for one in result]

            async def all_there() -> bool:
                return [value for _, value in await counted()] == ["3"]

            await eventually(all_there)
            [(labels, _)] = await counted()
            assert (labels["type"], labels["where"], labels["job"]) == ("ValueError", "__main__:add", "errors")
            assert labels["category"] == "validation"
            assert "ana@example.com" not in daemon.log_file.read_text()
            for path, status in (("/api/7/envelope/", 401), ("/ingest/auth-logs", 401), ("/api/v1/query", 401)):
                async with http.post(path, headers={"X-Tocsin-Secret": KEY}, data=b"{}") as answer:
                    assert answer.status == status
            async with http.post(f"/api/v1/query?sentry_key={KEY}", data=b"{}") as answer:
                assert answer.status == 401
    finally:
        await daemon.kill()


RULES = """
groups:
  - name: errors
    rules:
      - alert: NewError
        expr: sum by (type, where) (tocsin_sentry_error_occurrences_total) > 0
        labels: {severity: P0}
        annotations: {summary: "{{ $labels.type }} in {{ $labels.where }}"}
"""


async def test_an_application_behind_the_layers_is_told_of_in_slack(tmp_path: Path) -> None:
    """Its error goes by `sentry_dsn` to the daemon's own inlet, becomes a series, an incident, and one message."""
    async with FakeSlack() as slack:
        config = {
            "collectors": [{"kind": "sentry", "name": "errors", "interval": "200ms", "project": 7, "key_env": "KEY"}],
            "rules": ["rules.yaml"], "routes": [{"match": {}, "notify": ["pages"]}],
            "notifiers": [
                {"kind": "slack", "name": "pages", "channel": "C0ALERTS", "token_env": "SLACK_TOKEN",
                 "base_url": slack.base_url, "deadline": "3s"}
            ],
            "web": {"listen": "127.0.0.1:0"}, "telemetry": {"log_format": "json"},
        }  # fmt: skip
        (tmp_path / "config.yaml").write_text(json.dumps(config))
        (tmp_path / "rules.yaml").write_text(RULES)
        daemon = DaemonProcess(tmp_path, {"KEY": KEY, "SLACK_TOKEN": slack.token})
        await daemon.start()
        try:
            application = protect(
                failing, supabase_url="off", environment={}, registry=CollectorRegistry(), lines=Lines(Kept()),
                sentry_dsn=f"http://{KEY}@{daemon.address}/7",
            )  # fmt: skip
            await application.start()
            for _ in range(3):
                await application(scope("/orders/17"), nothing, nowhere)
            await application.close()
            await eventually(lambda: len(slack.posted()) == 1)
            told = json.dumps(slack.posted()[0].__dict__, default=str)
            assert "ValueError in tests.e2e.test_sentry_sdk:failing" in told
            assert "ana@example.com" not in told + daemon.log_file.read_text()
        finally:
            await daemon.kill()


async def failing(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("order of ana@example.com")
