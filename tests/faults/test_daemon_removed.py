"""What is taken out of the configuration has not recovered, with a real daemon: its incident ends as that."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from tocsin.testing.slack import FakeSlack
from tocsin.testing.waiting import eventually

from .conftest import DaemonProcess, Target, config_of

RULES = """
groups:
  - name: shop
    rules:
      - {alert: Down, expr: 'tocsin_endpoint_up == 0', labels: {severity: P0}}
      - alert: Failed
        expr: 'sum by (job, instance) (increase(tocsin_endpoint_probes_total{outcome="failure"}[1h])) > 0'
        labels: {severity: P0}
      - {alert: QueueIsLong, expr: 'queue_length > 10', labels: {severity: P0}}
"""


def ends_of(slack: FakeSlack) -> list[str]:
    """What the threads say of the ends, in no order."""
    return sorted(
        reply.text.rsplit(": ", 1)[-1].rstrip(".") for message in slack.posted() for reply in slack.thread(message)
    )


async def test_what_is_taken_out_or_renamed_ends_as_no_longer_configured(
    daemon: DaemonProcess, slack: FakeSlack, target: Target, tmp_path: Path
) -> None:
    """By a reload or while the daemon is down; and what a window of an hour still shows of it is no alert."""
    target.text = "queue_length 11\n"
    (tmp_path / "rules.yaml").write_text(RULES)
    config = config_of(slack, target) | {"routes": [{"notify": ["pages"], "group_by": ["job", "instance"]}]}
    queue = {"kind": "scrape", "name": "queue", "interval": "200ms", "targets": [{"url": target.url}]}
    gone = {"expect": {"status": 404}}
    first, second = ({"url": f"{target.url}{path}", "name": path or "shop"} | gone for path in ("", "other"))

    def write(targets: list[dict[str, Any]], *more: dict[str, Any]) -> None:
        collectors = [{**config["collectors"][0], "targets": targets}, *more]
        (tmp_path / "config.yaml").write_text(json.dumps(config | {"collectors": collectors}))

    write([first, second], queue)
    await daemon.start()
    await eventually(lambda: len(slack.posted()) == 3)
    write([second])
    daemon.signal(signal.SIGHUP)
    await eventually(lambda: len(ends_of(slack)) == 2)
    assert ends_of(slack) == ["queue is no longer configured", "shop of web is no longer configured"]
    await daemon.stop()
    write([{**second, "name": "till"}])
    await daemon.start()
    await eventually(lambda: len(slack.posted()) == 4 and len(ends_of(slack)) == 3)
    assert ends_of(slack)[0] == "other of web is no longer configured"
    decided = daemon.log("incident.decided")
    assert {line["reason"] for line in decided if line["action"] == "resolve"} == {"closed"}
    # Nothing that ended fired again, neither anew nor in its old incident.
    assert ([line for line in decided if line["reason"] == "reopened"], len(slack.posted())) == ([], 4)
