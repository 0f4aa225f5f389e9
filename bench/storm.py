"""A storm: thousands of distinct alerts at once, through the real HTTP API of a real daemon into the stand-in Slack.

    python bench/storm.py [--alerts 1000 --alerts 10000] [--peer] [--json]

Rows, each for every size:

  one cause     all of one alertname, grouped by it: one incident
  each alone    every alert an incident of its own: what storm control is for
  killed        one cause; SIGKILL in the middle of it, a new start, and the sender resends what was not acknowledged
  killed alone  the same where every alert is its own incident

Alerts are posted to /api/v2/alerts as Prometheus does it, 250 in a request, four requests at once. Printed: messages
(posts and replies; edits ring nobody and are counted apart), the time from the first request to the first message and
to the last, CPU seconds, peak RSS, what was said twice, and what was lost: alerts that were acknowledged with 200 and
that no message, digest or summary tells. With --peer the same alerts go to Debian's Alertmanager right after, into a
webhook, as soon as it may tell (group_wait 0 s); where it is killed it gets what was not acknowledged again, as ours
does, and then, in a row of its own, everything again, as Prometheus would send it a minute later.

Of Alertmanager "lost" counts what it had not told when it was quiet: with one cause the rest of the group waits for
group_interval (5 min), and is lost for good only where it was killed and nobody sends it again.

A second alert of a live incident, four seconds after the storm: from its request until the message shows it.
Alertmanager waits for group_interval.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from storms import Row
from storms.here import storm_here
from storms.there import storm_there


def printed(row: Row) -> str:
    def seconds(value: float | None) -> str:
        return "      -" if value is None else f"{value:6.2f}s"

    return (
        f"{row.who:<13}{row.storm:<26}{row.alerts:>7,}{row.messages:>9,}{row.edits:>6,} {seconds(row.first)} "
        f"{seconds(row.last)} {row.cpu:7.2f} {row.rss / 2**20:6.0f} {row.twice:>7,}{row.lost:>7,} {seconds(row.joins)}"
    )


STORMS: Final = (
    ("one cause", False, False),
    ("each alone", True, False),
    ("killed", False, True),
    ("killed alone", True, True),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alerts", type=int, action="append", help="repeat for several; default: 1000 and 10000")
    parser.add_argument("--storm", action="append", choices=[name for name, _, _ in STORMS], help="default: all")
    parser.add_argument("--peer", action="store_true", help="the same into Debian's Alertmanager")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows: list[Row] = []
    if not asked.json:
        print(
            f"{'':<13}{'storm':<26}{'alerts':>7}{'messages':>9}{'edits':>6} {'first':>7} {'last':>7} {'CPU s':>7} "
            f"{'MiB':>6} {'twice':>7}{'lost':>7} {'joins':>7}"
        )
    for count in asked.alerts or [1_000, 10_000]:
        for storm, alone, kill in STORMS:
            if asked.storm and storm not in asked.storm:
                continue
            found = [asyncio.run(storm_here(count, storm, alone, kill))]
            if asked.peer:
                found += asyncio.run(storm_there(count, storm, alone, kill))
            rows += found
            if not asked.json:
                print("\n".join(printed(row) for row in found), flush=True)
    if asked.json:
        print(json.dumps([asdict(row) for row in rows]))
    return int(any(row.who == "tocsin" and (row.lost or row.twice) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
