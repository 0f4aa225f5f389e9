"""Bad input is refused with the line and the mend; what ran before keeps running."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

from tocsin.testing.slack import FakeSlack
from tocsin.testing.waiting import eventually

from .conftest import RULES, DaemonProcess, Target, config_of


async def refused(daemon: DaemonProcess) -> tuple[int, str]:
    """Start a daemon that must not start → its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tocsin", "run", cwd=daemon.folder, env={**os.environ, **daemon.env},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(30):
        out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("config.yaml", "collectors:\n  - {kind: endpoint, name: web\n", r"config\.yaml:\d+: .*"),
        ("config.yaml", "collectors: []\nrulez: [rules.yaml]\n", r"config\.yaml:2: .*rulez.*'?rules'?"),
        ("rules.yaml", RULES.replace("> 0", "> > 0"), r"rules\.yaml:6: .*"),
        ("rules.yaml", RULES.replace("$labels.service", "$lables.service"), r"rules\.yaml:8: .*\$lables"),
        ("rules.yaml", RULES.replace("        labels:", "        lables:"), r"rules\.yaml:7: .*lables.*labels"),
    ],
    ids=["yaml", "unknown key", "promql", "template", "unknown rule key"],
)
async def test_a_bad_file_is_refused_at_its_line(daemon: DaemonProcess, file: str, text: str, said: str) -> None:
    """Exit 2, FILE:LINE and what is wrong; nothing starts."""
    (daemon.folder / file).write_text(text)
    code, out = await refused(daemon)
    assert (code, bool(re.search(said, out)), "Traceback" in out) == (2, True, False), out


async def test_a_missing_token_is_named(daemon: DaemonProcess) -> None:
    """The variable that should hold it, not a failure at the first alert."""
    daemon.env["SLACK_TOKEN"] = ""
    code, out = await refused(daemon)
    assert (code, "SLACK_TOKEN" in out) == (2, True), out


async def test_a_second_daemon_on_the_same_state_does_not_start(daemon: DaemonProcess) -> None:
    """Two would tell everything twice."""
    await daemon.start()
    code, out = await refused(daemon)
    assert (code != 0, "is in use by another" in out, "Traceback" in out) == (True, True, False), out


async def test_a_bad_reload_keeps_the_old_configuration(
    daemon: DaemonProcess, slack: FakeSlack, target: Target
) -> None:
    """SIGHUP on a broken file: the log says line and mend, alerts go on, a mended file is taken."""
    await daemon.start()
    good = (daemon.folder / "rules.yaml").read_text()
    (daemon.folder / "rules.yaml").write_text(good.replace("> 0", "> > 0"))
    daemon.signal(signal.SIGHUP)
    await eventually(lambda: len(daemon.log("config.refused")) == 1)
    assert re.search(r"rules\.yaml:6", daemon.log("config.refused")[0]["what"])
    target.status = 500
    await eventually(lambda: len(slack.posted()) == 1)
    (daemon.folder / "rules.yaml").write_text(good)
    daemon.signal(signal.SIGHUP)
    await eventually(lambda: len(daemon.log("config.reloaded")) == 1)
    assert len(slack.posted()) == 1


async def test_a_rule_removed_while_it_fires_ends_its_alert(
    daemon: DaemonProcess, slack: FakeSlack, target: Target
) -> None:
    """Whoever was told "firing" is told the end, with the reason."""
    await daemon.start()
    target.status = 500
    await eventually(lambda: len(slack.posted()) == 1)
    (daemon.folder / "rules.yaml").write_text(RULES.replace("EndpointDown", "SomethingElse").replace("> 0", "> 9"))
    daemon.signal(signal.SIGHUP)
    await eventually(lambda: len(slack.thread(slack.posted()[0])) == 1)
    assert len(slack.posted()) == 1


async def test_what_can_not_be_reached_stops_nobody_else(
    daemon: DaemonProcess, slack: FakeSlack, target: Target, tmp_path: Path
) -> None:
    """A database that is not there and a log that can't be read: the endpoint's alert comes all the same."""
    config = config_of(slack, target)
    config["collectors"] += [
        {"kind": "postgres", "name": "db", "dsn_env": "NO_SUCH_DB", "interval": "1s"},
        {"kind": "auth_logs", "name": "auth", "source": {"file": "no/such/file.jsonl"}, "interval": "1s"},
    ]
    daemon.env["NO_SUCH_DB"] = "postgresql://nobody@127.0.0.1:1/none"
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    await daemon.start()
    target.status = 500
    await eventually(lambda: len(slack.posted()) == 1)
    # Any of its lines: on a busy machine a poll's second may also pass before it is refused.
    for collector, why in (("db", "refused"), ("auth", "no/such/file.jsonl")):
        await eventually(partial(says, daemon, collector, why))


def says(daemon: DaemonProcess, collector: str, why: str) -> bool:
    """Whether the log has told that `collector` is blind for such a reason."""
    return any(line["collector"] == collector and why in line["why"] for line in daemon.log("source.blind"))


async def test_a_wrong_slack_token_fails_over(daemon: DaemonProcess, slack: FakeSlack, target: Target) -> None:
    """The alert is told by the failover at once, and the log says what is wrong with the token."""
    config = config_of(slack, target)
    config["notifiers"][0]["failover"] = "screen"
    config["notifiers"].append({"kind": "console", "name": "screen"})
    (daemon.folder / "config.yaml").write_text(json.dumps(config))
    daemon.env["SLACK_TOKEN"] = "xoxb-not-this-one"
    await daemon.start()
    target.status = 500
    await eventually(lambda: len(daemon.log("delivery.failed_over")) == 1)
    assert "invalid_auth" in daemon.log("delivery.failed_over")[0]["why"]
