"""kill -9 while a log is written and rotated, or polled: each line is counted once, whatever the source."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from tocsin.testing.postgres import EmbeddedPostgres
from tocsin.testing.supabase import FakeManagement

# A type of this folder's conftest, which a test can't import.
Lines = Any
PROGRAM = Path(__file__).with_name("kill_me.py")


def start(folder: Path, root: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(folder), *more],
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


def told_all(process: subprocess.Popen[str]) -> tuple[int, int]:
    """The same of the first poll that leaves nothing unread, or of the last when a minute is over."""
    deadline = time.monotonic() + 60
    failures, unread = told(process)
    while unread and time.monotonic() < deadline:
        failures, unread = told(process)
    return failures, unread


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
                assert told_all(process)[1] == 0
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
        assert told_all(last) == (written, 0)
    finally:
        last.kill()
        last.wait()
        assert last.stdout is not None
        last.stdout.close()


def killed_and_counted(folder: Path, root: Path, add: Callable[[int], None], *more: str) -> None:
    """Kill a process that polls a source while `add` adds so many events to it; in the end all are counted."""
    chance, written, shown = random.Random(20260820), 0, 0
    for last in (False, False, True):
        process = start(folder, root, *more)
        try:
            for _ in range(chance.randint(2, 5)):
                count = chance.randint(1, 60)
                add(count)
                written += count
                counted, _ = told(process)
                assert counted >= shown, "a restart counted less than was shown before"
                shown = counted
            for _ in range(20 if last else 0):
                shown, _ = told(process)
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
    assert shown == written


async def test_kill_9_while_the_management_api_is_polled(tmp_path: Path, root: Path, lines: Lines) -> None:
    """Ids and counters are saved as one."""
    async with FakeManagement() as api:
        source = {"project": api.project, "token": api.token, "base_url": api.url}
        settings = json.dumps({"source": {"management_api": source}})

        def add(count: int) -> None:
            api.add(*[lines.failed()] * count, at=datetime.now(UTC))

        metric = "tocsin_auth_failures_total"
        await asyncio.to_thread(killed_and_counted, tmp_path, root, add, settings, metric)


def test_kill_9_while_the_audit_table_is_polled(tmp_path: Path, root: Path) -> None:
    """Over SQL too."""
    with EmbeddedPostgres.start() as server:
        server.execute(
            "create schema auth",
            "create table auth.audit_log_entries (id uuid primary key default gen_random_uuid(), payload json, "
            "created_at timestamptz, ip_address varchar(64) not null default '')",
        )
        with psycopg.connect(server.dsn(), autocommit=True) as connection:

            def add(count: int) -> None:
                connection.execute(
                    "insert into auth.audit_log_entries (payload, created_at) "
                    """select '{"action":"login"}', clock_timestamp() from generate_series(1, %s)""",
                    (count,),
                )

            settings = json.dumps({"source": {"sql": {"dsn": server.dsn(), "tables": {"include": []}}}})
            killed_and_counted(tmp_path, root, add, settings, "tocsin_auth_audit_events_total")
