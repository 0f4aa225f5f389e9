"""The stand-in Slack as a process: `python -m tocsin.testing.slack --port 0 --state slack.jsonl`.

Prints one line of JSON once it listens (page, base_url, token, channels, pid), then runs until SIGTERM, SIGINT or,
with --parent, until its standard input ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from tocsin.testing.slack.server import DEFAULT_TOKEN, FakeSlack
from tocsin.testing.slack.workspace import Channel


def main(argv: list[str] | None = None) -> int:
    """Parse the command line and serve. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tocsin.testing.slack", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--state", type=Path, help="keep messages in this file, across kill -9 too")
    parser.add_argument("--token", default=DEFAULT_TOKEN, help="the one token it accepts")
    parser.add_argument("--channel", action="append", type=_channel, help="ID=NAME; repeat for several")
    parser.add_argument("--rate", type=float, help="posts per second and channel before 429")
    parser.add_argument("--burst", type=int, default=1, help="posts above the rate that are let through")
    parser.add_argument("--parent", action="store_true", help="stop when standard input ends")
    options = parser.parse_args(argv)
    asyncio.run(_serve(options))
    return 0


def _channel(text: str) -> Channel:
    channel_id, _, name = text.partition("=")
    if not channel_id or not name:
        raise argparse.ArgumentTypeError(f"not a channel: {text!r}; write it like C0ALERTS=alerts")
    return Channel(id=channel_id, name=name)


async def _serve(options: argparse.Namespace) -> None:
    channels = tuple(options.channel or (Channel(id="C0ALERTS", name="alerts"),))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    watcher = await _watch_input(loop, stop) if options.parent else None
    slack = FakeSlack(
        channels=channels,
        token=options.token,
        host=options.host,
        port=options.port,
        state=options.state,
        channel_rate=options.rate,
        burst=options.burst,
    )
    async with slack:
        hello = {
            "page": slack.address + "/",
            "base_url": slack.base_url,
            "control": slack.address + "/_fake/",
            "token": slack.token,
            "channels": {channel.id: channel.name for channel in channels},
            "pid": os.getpid(),
        }
        sys.stdout.write(json.dumps(hello) + "\n")
        sys.stdout.flush()
        await stop.wait()
    if watcher is not None:
        watcher.cancel()


async def _watch_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> asyncio.Task[None]:
    """A parent that dies by kill -9 closes our input: then we go too, and no stray server stays."""
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def wait() -> None:
        while await reader.read(4096):
            pass
        stop.set()

    return loop.create_task(wait())


if __name__ == "__main__":
    raise SystemExit(main())
