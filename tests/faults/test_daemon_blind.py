"""Unknown is not OK, with a real daemon: a source that can't be seen ends no alert, and is an incident of its own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from tocsin.testing.slack import FakeSlack
from tocsin.testing.slack.workspace import Message
from tocsin.testing.waiting import eventually

from .conftest import DaemonProcess, Target, config_of

RULES = """
groups:
  - name: shop
    rules:
      - {alert: QueueIsLong, expr: 'queue_length > 10', labels: {severity: P1}}
      - {alert: QueueIsGone, expr: 'absent(queue_length)', labels: {severity: P1}}
"""


def of(slack: FakeSlack, alert: str) -> list[Message]:
    return [message for message in slack.posted() if alert in f"{message.text} {message.blocks[:1]}"]


async def test_a_source_that_is_blind_is_one_incident_that_names_its_rules_and_ends(
    daemon: DaemonProcess, slack: FakeSlack, target: Target, tmp_path: Path, root: Path
) -> None:
    """What fired goes on, frozen; one message tells the blindness and which rules it blinds; its end is told once."""
    target.text = "queue_length 11\n"
    (shipped,) = yaml.safe_load((root / "alert_rules" / "tocsin.yaml").read_text())["groups"]
    rules = [{**rule, "for": "3s"} for rule in shipped["rules"] if rule["alert"] == "TocsinSourceBlind"]
    (tmp_path / "rules.yaml").write_text(RULES)
    (tmp_path / "own.yaml").write_text(json.dumps({"groups": [{"name": "tocsin", "interval": "1s", "rules": rules}]}))
    config = config_of(slack, target) | {
        "rules": ["rules.yaml", "own.yaml"], "routes": [{"notify": ["pages"], "group_by": ["alertname", "job"]}],
    }  # fmt: skip
    config["collectors"] = [
        {"kind": "scrape", "name": name, "targets": [{"url": url}], "interval": "500ms"}
        for name, url in (("shop", target.url), ("other", "http://127.0.0.1:1/"))
    ]
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    await daemon.start()
    await eventually(lambda: len(of(slack, "QueueIsLong")) == 1 and len(of(slack, "other can't be seen")) == 1)
    target.status = 500
    await eventually(lambda: len(of(slack, "shop can't be seen")) == 1)
    told = re.sub(r"\s+", " ", str(of(slack, "shop can't be seen")[0].blocks))
    assert "Blind with it: QueueIsGone, QueueIsLong." in told
    target.status = 200
    await eventually(lambda: len(slack.thread(of(slack, "shop can't be seen")[0])) == 1)
    # Two sources, two incidents. What was frozen has not ended, is no new message, and is not said to be gone.
    assert sorted(name for name in NAMES for _ in of(slack, name)) == sorted(NAMES)
    ends = [line["incident"] for line in daemon.log("incident.decided") if line["action"] == "resolve"]
    assert len(ends) == 1


NAMES = ("QueueIsLong", "shop can't be seen", "other can't be seen")
