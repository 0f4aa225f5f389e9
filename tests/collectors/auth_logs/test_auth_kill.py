"""kill -9 while a log is written and rotated: each line is counted once."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# A type of this folder's conftest, which a test can't import.
Lines = Any
PROGRAM = Path(__file__).with_name("kill_me.py")


def start(folder: Path, root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )


def told(process: subprocess.Popen[str]) -> tuple[int, int]:
    """(failures counted, bytes unread) of the next poll."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, "the process ended by itself"
    failures, unread = line.split()
    return int(failures), int(unread)


def test_kill_9_at_any_moment_counts_each_line_once(tmp_path: Path, root: Path, lines: Lines) -> None:
    """Position and counters are saved as one: after every kill the count goes on where it stood, and never back."""
    chance = random.Random(20260820)
    log, written, shown = tmp_path / "auth.jsonl", 0, 0
    log.touch()
    for generation in range(8):
        process = start(tmp_path, root)
        try:
            for _ in range(chance.randint(1, 6)):
                with log.open("ab") as file:
                    for _ in range(chance.randint(1, 900)):
                        file.write(lines.failed(request_id=f"r{written}") + b"\n")
                        written += 1
                failures, _ = told(process)
                assert failures >= shown, "a restart counted less than was shown before"
                shown = failures
            if generation % 2:
                log.rename(tmp_path / f"auth.jsonl.{generation}")
                log.touch()
            elif generation % 4 == 2:
                # A file of which nothing was read can't be told from what it was, so this one is read first; then the
                # copy and the truncation fall between two polls or into one, as chance will have it.
                while told(process)[1]:
                    pass
                with log.open("ab") as file:
                    for _ in range(300):
                        file.write(lines.failed(request_id=f"r{written}") + b"\n")
                        written += 1
                shutil.copy(log, tmp_path / f"auth.jsonl.{generation}")
                os.truncate(log, 0)
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
    last = start(tmp_path, root)
    try:
        deadline = time.monotonic() + 60
        failures, unread = told(last)
        while unread and time.monotonic() < deadline:
            failures, unread = told(last)
        assert (failures, unread) == (written, 0)
    finally:
        last.kill()
        last.wait()
        assert last.stdout is not None
        last.stdout.close()
