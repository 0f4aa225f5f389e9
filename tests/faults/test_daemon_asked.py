"""What people ask of a running daemon on the command line: it is done, and the channel shows it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from tocsin.testing.slack import FakeSlack
from tocsin.testing.waiting import eventually

from .conftest import DaemonProcess, Target


async def tocsin(daemon: DaemonProcess, *arguments: str) -> tuple[int, str]:
    """Run a command in the daemon's folder → exit code and standard output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tocsin", *arguments, cwd=daemon.folder, env={**os.environ, **daemon.env},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(30):
        out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


async def open_incidents(daemon: DaemonProcess) -> list[dict[str, Any]]:
    code, out = await tocsin(daemon, "incidents", "list", "--json")
    assert code == 0, out
    found: list[dict[str, Any]] = json.loads(out)
    return found


async def test_an_acknowledgement_shows_in_the_message(daemon: DaemonProcess, slack: FakeSlack, target: Target) -> None:
    """`tocsin incidents ack` reaches the daemon, which edits the one message."""
    await daemon.start()
    target.status = 500
    await eventually(lambda: len(slack.posted()) == 1)
    incident = (await open_incidents(daemon))[0]["id"]
    code, out = await tocsin(daemon, "incidents", "ack", incident, "--by", "ana")
    assert code == 0, out
    await eventually(lambda: "ana" in json.dumps(slack.posted()[0].blocks))
    assert len(slack.posted()) == 1


async def test_a_silence_keeps_a_new_alert_from_the_channel(
    daemon: DaemonProcess, slack: FakeSlack, target: Target
) -> None:
    """`tocsin silence add` and then kill -9: after the restart it holds, and the channel is quiet. What it hid is
    told when it ends, through another kill."""
    await daemon.start()
    code, out = await tocsin(daemon, "silence", "add", "service=shop", "--for", "1h", "--why", "a planned deployment")
    assert code == 0, out
    await daemon.kill()
    await daemon.start()
    target.status = 500
    await eventually(lambda: len(daemon.log("incident.decided")) >= 1)
    assert (daemon.log("incident.decided")[0]["reason"], len(slack.posted())) == ("silenced_by", 0)
    target.status = 200
    await eventually(lambda: any(line["reason"] == "ended_untold" for line in daemon.log("incident.decided")))
    await daemon.kill()
    await daemon.start()
    (made,) = json.loads((await tocsin(daemon, "silence", "list", "--json"))[1])
    assert (made["hid"], (await tocsin(daemon, "silence", "expire", made["id"]))[0]) == (1, 0)
    await eventually(lambda: len(slack.posted()) == 1)
    assert "It hid 1 alert in 1 incident, 1 of them P0; none fires any more" in str(slack.posted()[0].blocks)


async def test_a_metrics_token_opens_the_metrics(daemon: DaemonProcess) -> None:
    """`tocsin token create` and a scrape with it: our own figures and the collected series, in one page."""
    import aiohttp

    await daemon.start()
    code, out = await tocsin(daemon, "token", "create", "--scope", "metrics:read", "--json")
    assert code == 0, out
    headers = {"Authorization": f"Bearer {json.loads(out)['token']}"}
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://{daemon.address}/metrics") as refused:
            assert refused.status == 401
        async with session.get(f"http://{daemon.address}/readyz") as ready:
            assert (ready.status, await ready.text()) == (200, "ready\n")

        async def scraped() -> bool:
            async with session.get(f"http://{daemon.address}/metrics", headers=headers) as page:
                text = await page.text()
            wanted = ("tocsin_polls_total{", "tocsin_endpoint_up{", 'tocsin_response_incidents{severity="P0"} 0.0')
            return page.status == 200 and all(line in text for line in wanted)

        await eventually(scraped)
