"""One person's events are erased when they ask: theirs all, and nobody else's."""

from __future__ import annotations

import asyncio
import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from collectors.auth_logs.erase import erase
from collectors.auth_logs.kept import Kept, select
from collectors.auth_logs.naming import hashed
from tocsin.cli import cli
from tocsin.state import State

Lines = Any  # of this folder's conftest, which a test can't import
SALT = b"0123456789abcdef"
NOW = datetime(2026, 8, 20, 9, 30, tzinfo=UTC)
ANA, BEN = "2670a2a6-0000-4000-8000-000000000001", "2670a2a6-0000-4000-8000-000000000002"


def line(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def audit(actor: str, email: str, **traits: str) -> bytes:
    body = {"action": "login", "actor_id": actor, "actor_username": email, "traits": traits}
    return line(msg="audit_event", auth_audit_event=body)


OF_ANA = [
    audit(ANA, "Ana@x.io"),
    audit("00000000-0000-0000-0000-000000000000", "service_role", user_id=ANA, user_email="ana@x.io"),
    line(msg="Login", login_method="password", user_id=ANA),
    line(msg="request completed", path=f"/admin/users/{ANA}", error_code="x", remote_addr="203.0.113.9"),
    line(msg="request completed", path="/signup", error_code="x", error="422: ana@x.io is taken."),
]
OF_OTHERS = [
    audit(BEN, "joana@x.io"),
    audit(BEN, "ana@x.io.example"),
    audit("00000000-0000-0000-0000-000000000000", "service_role", user_id=BEN),
    line(msg="Login", login_method="password", user_id=BEN),
    line(msg="request completed", path="/token", error_code="x", remote_addr="110.0.0.12"),
]


def left(folder: Path) -> list[bytes]:
    return [each for path in sorted(folder.glob("*.jsonl")) for each in path.read_bytes().splitlines()]


def test_an_email_is_followed_to_its_id_over_all_files(tmp_path: Path) -> None:
    """Sign-ins bear the id alone, and may lie in an hour in which no line names the e-mail."""
    kept = Kept(tmp_path, keep=86400)
    kept.add([*OF_ANA[2:], *OF_OTHERS], NOW)
    kept.add(OF_ANA[:2], NOW + timedelta(hours=2))
    before = left(tmp_path)
    assert erase(tmp_path, SALT, ["ana@X.io"], apply=False) == (5, 2)
    assert left(tmp_path) == before
    assert erase(tmp_path, SALT, ["ana@X.io"], apply=True) == (5, 2)
    assert left(tmp_path) == OF_OTHERS
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    assert erase(tmp_path, SALT, ["ana@X.io"], apply=True) == (0, 0)


@pytest.mark.parametrize("subject", ["203.0.113.9", hashed(SALT, "ip", "203.0.113.9")])
def test_an_address_goes_when_it_is_named(tmp_path: Path, subject: str) -> None:
    """In clear, or as an alert has it; one that merely contains it stays."""
    Kept(tmp_path, keep=86400).add([*OF_ANA, *OF_OTHERS], NOW)
    assert erase(tmp_path, SALT, [subject], apply=True) == (1, 1)
    assert left(tmp_path) == [*OF_ANA[:3], OF_ANA[4], *OF_OTHERS]
    assert erase(tmp_path, SALT, ["10.0.0.1"], apply=True) == (0, 0)


def test_a_user_goes_by_the_name_of_their_series(tmp_path: Path) -> None:
    """user-… of AuthUserUnderAttack."""
    Kept(tmp_path, keep=86400).add([*OF_ANA, *OF_OTHERS], NOW)
    erase(tmp_path, SALT, [hashed(SALT, "user", ANA)], apply=True)
    assert [told.who for told in select(tmp_path, SALT, since=NOW) if told.who == ANA] == []


def test_what_was_erased_is_overwritten(tmp_path: Path) -> None:
    """Who has the old file open, a backup under way or a search of the disk, finds zeros there."""
    Kept(tmp_path, keep=86400).add(OF_ANA, NOW)
    (path,) = tmp_path.iterdir()
    with path.open("rb") as old:
        erase(tmp_path, SALT, ["ana@x.io"], apply=True)
        assert set(old.read()) == {0}


def test_nothing_is_lost_that_the_daemon_writes_meanwhile(tmp_path: Path) -> None:
    """It adds to the very file that is put in another's place."""
    kept, over = Kept(tmp_path, keep=86400), threading.Event()
    rows = [line(msg="Login", user_id=f"u{number}") for number in range(300)]
    kept.add(OF_ANA[:1], NOW)

    def write() -> None:
        try:
            for row in rows:
                kept.add([row, OF_ANA[2]], NOW)
        finally:
            over.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not over.is_set():
        erase(tmp_path, SALT, [ANA], apply=True)
    writer.join()
    erase(tmp_path, SALT, [ANA], apply=True)
    assert left(tmp_path) == rows
    assert list(tmp_path.iterdir()) == list(tmp_path.glob("*.jsonl"))


def test_the_command_counts_and_erases_when_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`tocsin auth erase`, over every collector that keeps events."""
    keeps = [{"kind": "auth_logs", "name": name, "source": {"file": f"{name}.jsonl"}, "events": {"keep": "1d"}}
             for name in ("auth", "old")]  # fmt: skip
    config = {
        "collectors": keeps, "rules": [], "routes": [{"match": {}, "notify": ["log"]}],
        "notifiers": [{"kind": "console", "name": "log"}],
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    for name in ("auth", "old"):
        Kept(tmp_path / f"{name}-events", keep=86400).add([*OF_ANA, *OF_OTHERS], NOW)
    monkeypatch.chdir(tmp_path)

    async def store() -> None:
        await (await State.open(f"sqlite:///{tmp_path / 'tocsin.db'}")).close()

    asyncio.run(store())
    run = CliRunner().invoke(cli, ["auth", "erase", "ana@x.io"])
    assert (run.exit_code, "add --apply" in run.stderr, left(tmp_path / "old-events")) == (0, True, OF_ANA + OF_OTHERS)
    run = CliRunner().invoke(cli, ["auth", "erase", "ana@x.io", "--apply", "--json"])
    expected = [{"collector": name, "lines": 5, "files": 1, "erased": True} for name in ("auth", "old")]
    assert (run.exit_code, json.loads(run.stdout)) == (0, expected)
    assert [left(tmp_path / f"{name}-events") for name in ("auth", "old")] == [OF_OTHERS, OF_OTHERS]
    run = CliRunner().invoke(cli, ["auth", "erase", "", "--apply"])
    assert (run.exit_code, "everybody" in run.stderr) == (2, True)
