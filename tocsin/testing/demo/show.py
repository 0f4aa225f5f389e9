"""What `tocsin demo` does and prints: the page's address first, then each fault and what came of it.

With `document` the outcomes are JSON objects on standard output, one a line, and all other lines go to standard error.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from tocsin.testing.demo.faults import FAULTS, Fault
from tocsin.testing.demo.outcome import Outcome, perform
from tocsin.testing.demo.stage import Stage, set_stage

PAUSE: Final = 8.0
"""Seconds between two faults of the loop: time to read the channel."""


class Narrator:
    """Lines for people, each with the seconds since the curtain rose."""

    def __init__(self, *, document: bool = False) -> None:
        self._document = document
        self._began = time.monotonic()

    def plain(self, line: str = "") -> None:
        """A line as it is."""
        stream = sys.stderr if self._document else sys.stdout
        stream.write(line + "\n")
        stream.flush()

    def say(self, line: str) -> None:
        """A line with its time."""
        self.plain(f"{time.monotonic() - self._began:7.1f}s  {line}")

    def tell(self, outcome: Outcome) -> None:
        """What came of a fault."""
        if self._document:
            sys.stdout.write(json.dumps(outcome.document(), ensure_ascii=False) + "\n")
            sys.stdout.flush()
        took = "" if outcome.seconds is None else f"told after {outcome.seconds:.2f} s, "
        counts = (
            f"{outcome.messages} message{'s' * (outcome.messages != 1)}, "
            f"{outcome.edits} edit{'s' * (outcome.edits != 1)}, {outcome.replies} in the thread"
        )
        self.say(f"  {'ok' if outcome.ok else 'NOT OK, ' + outcome.verdict}: {took}{counts}")


async def run_demo(scenarios: Sequence[str], *, once: bool, document: bool, folder: Path | None = None) -> bool:
    """Set the stage, perform `scenarios` (names of FAULTS) once or on a loop, strike the stage; whether all went well.

    Without scenarios it waits until it is cancelled. Raises DemoError or PostgresUnavailable.
    """
    narrator = Narrator(document=document)
    narrator.plain("Starting Postgres, the campaigns application, Supabase Auth, Slack and Tocsin …")
    async with set_stage(folder) as stage:
        _introduce(stage, narrator)
        if not scenarios:
            narrator.say("All is well. Ctrl-C ends the demo.")
            await stage.until(lambda: False, float("inf"))
            return True
        faults = [FAULTS[name] for name in scenarios]
        if once:
            outcomes = [await _perform(fault, stage, narrator) for fault in faults]
            _sum_up(outcomes, narrator)
            return all(outcome.ok for outcome in outcomes)
        await _loop(itertools.cycle(faults), stage, narrator)
    return True


async def _loop(faults: Iterable[Fault], stage: Stage, narrator: Narrator) -> None:
    narrator.say("A fault every few seconds. Ctrl-C ends the demo.")
    for fault in faults:
        await asyncio.sleep(PAUSE)
        await _perform(fault, stage, narrator)


async def _perform(fault: Fault, stage: Stage, narrator: Narrator) -> Outcome:
    narrator.say(f"{fault.title}: {fault.does}")
    outcome = await perform(fault, stage, say=lambda line: narrator.say(f"  {line}"))
    narrator.tell(outcome)
    if not outcome.ok:
        for error in stage.errors_after(outcome.injected_at):
            narrator.say(f"  the daemon logged: {error}")
    return outcome


def _introduce(stage: Stage, narrator: Narrator) -> None:
    narrator.plain(f"Slack channel   {stage.slack.address}/   (open this page and watch)")
    narrator.plain(f"Tocsin          {stage.web}/")
    narrator.plain(f"Application     {stage.app}/campaigns   (behind tocsin.asgi: 401 without a token)")
    narrator.plain(f"A user's token  {stage.auth.token}")
    narrator.plain(f"Configuration   {stage.config}   logs beside it")
    narrator.plain()


def _sum_up(outcomes: Sequence[Outcome], narrator: Narrator) -> None:
    good = sum(outcome.ok for outcome in outcomes)
    narrator.plain()
    narrator.plain(f"{good} of {len(outcomes)} faults detected, told once, and their end told.")
