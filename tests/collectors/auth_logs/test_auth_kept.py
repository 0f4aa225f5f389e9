"""Events in clear: kept when asked for, for as long as asked for, and shown by the name that an alert has."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from collectors.auth_logs import SPEC
from collectors.auth_logs.kept import Kept, is_kept, select
from collectors.auth_logs.naming import hashed
from tocsin.cli import cli
from tocsin.model import Blind
from tocsin.ports import CollectorContext
from tocsin.state import State

# Types of this folder's conftest, which a test can't import.
Auth = Any
Lines = Any
FAILURES = "tocsin_auth_failures_total"
SALT = b"0123456789abcdef"


def folder_of(auth: Auth) -> Path:
    return Path(auth.log.parent / "auth-events")


async def test_nothing_is_kept_unless_asked_for(auth: Auth, lines: Lines) -> None:
    """By default no personal data is kept."""
    auth.start(start="beginning")
    auth.write(lines.failed("203.0.113.9"))
    await auth.poll()
    assert [path.name for path in auth.log.parent.iterdir()] == ["checkpoint", "auth.jsonl"] or not folder_of(
        auth
    ).exists()
    assert not folder_of(auth).exists()


async def test_who_is_behind_a_series(auth: Auth, lines: Lines) -> None:
    """The label of the series finds the lines, with address and e-mail."""
    auth.start(start="beginning", events={"keep": "1d"})
    auth.write(
        lines.failed("203.0.113.9", time="2026-08-20T09:00:01Z"), lines.failed("203.0.113.8"), lines.request("/user"),
        lines.audit("user_deleted"), lines.audit("token_refreshed"),
    )  # fmt: skip
    seen = await auth.poll()
    labels = {sample.labels["ip"] for sample in seen.of(FAILURES)}
    salt = bytes.fromhex(json.loads((await auth.checkpoint.load()) or b"{}")["salt"])
    found = [list(select(folder_of(auth), salt, since=auth.now - timedelta(hours=1), subject=each)) for each in labels]
    assert sorted(told.address for (told,) in found) == ["203.0.113.8", "203.0.113.9"]
    everything = list(select(folder_of(auth), salt, since=auth.now - timedelta(days=1)))
    assert sorted(told.what for told in everything) == ["invalid_credentials /token"] * 2 + ["user_deleted"]
    assert [told.who for told in everything if told.who] == ["ana@example.com"]
    (size,) = [sample.value for sample in seen.of("tocsin_auth_events_kept_bytes")]
    assert size == sum(path.stat().st_size for path in folder_of(auth).iterdir())


def test_users_and_factors_are_found_by_the_names_of_their_series(tmp_path: Path, lines: Lines) -> None:
    """A wrong second factor by its factor, a wrong password by the user that the hook tells."""
    now = datetime(2026, 8, 20, 9, 30, tzinfo=UTC)
    hook = {"name": "password-verification-attempt", "ip_address": "203.0.113.9", "time": "2026-08-20T09:29:00Z"}
    wrong = lines.request("/factors/f1/verify", 422, error_code="mfa_verification_failed")
    attempt = json.dumps({"metadata": hook, "user_id": "u1", "valid": False}).encode()
    Kept(tmp_path, keep=7200).add([wrong, attempt], now)

    def found(subject: str) -> list[tuple[str, str]]:
        since = now - timedelta(hours=1)
        return [(told.what, told.address) for told in select(tmp_path, SALT, since=since, subject=subject)]

    assert found(hashed(SALT, "factor", "f1")) == [("mfa_verification_failed /factors/f1/verify", "203.0.113.7")]
    assert found(hashed(SALT, "user", "u1")) == [("password-verification-attempt", "203.0.113.9")]
    assert found("u1") == [("password-verification-attempt", "203.0.113.9")]


def test_events_are_forgotten_in_time(tmp_path: Path, lines: Lines) -> None:
    """To the hour; other files in the folder are left alone."""
    kept, now = Kept(tmp_path / "e", keep=7200), datetime(2026, 8, 20, 9, 30, tzinfo=UTC)
    for hour in range(6):
        kept.add([lines.failed()], now + timedelta(hours=hour))
        kept.forget(now + timedelta(hours=hour))
    (tmp_path / "e" / "notes.jsonl").write_text("mine")
    assert sorted(path.name for path in (tmp_path / "e").iterdir()) == [
        "2026-08-20T12.jsonl", "2026-08-20T13.jsonl", "2026-08-20T14.jsonl", "notes.jsonl",
    ]  # fmt: skip
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "e").glob("2026*")} == {0o600}
    kept.forget(now + timedelta(days=30))
    assert [path.name for path in (tmp_path / "e").iterdir()] == ["notes.jsonl"]


@pytest.mark.parametrize("silent", ["nothing new is logged", "the log is gone", "the folder takes nothing new"])
async def test_events_are_forgotten_while_nothing_new_comes(auth: Auth, lines: Lines, silent: str) -> None:
    """An application that was shut down, a log that can't be read, a full disk: their time is over all the same."""
    auth.start(start="beginning", events={"keep": "1d"})
    auth.write(lines.failed())
    await auth.poll()
    (kept,) = folder_of(auth).iterdir()
    if silent == "the log is gone":
        auth.log.unlink()
    elif silent == "the folder takes nothing new":
        later = auth.now + timedelta(hours=27)
        (folder_of(auth) / later.strftime("%Y-%m-%dT%H.jsonl")).mkdir()  # in the way of the next event
        auth.write(lines.failed())
    await auth.poll(after=24 * 3600)
    assert kept.exists()
    await auth.poll(after=3 * 3600)
    assert not kept.exists()


async def test_who_wants_none_kept_any_more_has_none(auth: Auth, lines: Lines) -> None:
    """`events` was taken out of the configuration: what was kept goes, and what is not ours stays."""
    auth.start(start="beginning", events={"keep": "1d"})
    auth.write(lines.failed())
    await auth.poll()
    (folder_of(auth) / "notes.jsonl").write_text("mine")
    await auth.collector.close()
    auth.start(start="beginning")
    await auth.poll()
    assert [path.name for path in folder_of(auth).iterdir()] == ["notes.jsonl"]


def test_a_line_that_was_kept_twice_is_shown_once(tmp_path: Path, lines: Lines) -> None:
    """It is kept before it is counted, so a crash between the two repeats it."""
    now = datetime(2026, 8, 20, 9, 30, tzinfo=UTC)
    Kept(tmp_path, keep=7200).add([lines.failed(), lines.failed(), b'"error_code" is no object'], now)
    assert len(list(select(tmp_path, SALT, since=now - timedelta(hours=1)))) == 1
    assert len(list(select(tmp_path, SALT, since=now))) == 0


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (b'{"status":400,"error_code":"x"}', True),
        (b'{"msg":"Login","login_method":"password"}', True),
        (b'{"msg":"Login","login_method":"token"}', False),
        (b'{"msg":"audit_event","auth_audit_event":{"action":"token_refreshed"}}', False),
        (b'{"status":200,"path":"/user"}', False),
    ],
)
def test_what_is_kept(line: bytes, kept: bool) -> None:
    """Refusals, sign-ins and what was audited; no refreshes, which are most of the traffic."""
    assert is_kept(line) is kept


async def test_a_folder_that_can_not_be_written_is_told_and_stops_no_counting(auth: Auth, lines: Lines) -> None:
    """Blind for what is kept, not for the log."""
    folder_of(auth).write_text("in the way")
    auth.start(start="beginning", events={"keep": "1d"})
    auth.write(lines.failed())
    seen = await auth.poll()
    assert seen.value(FAILURES) == 1
    ((why, metrics),) = [(item.why, item.metrics) for item in seen.items if isinstance(item, Blind)]
    assert ("events.folder" in why, metrics) == (True, frozenset({"tocsin_auth_events_kept_bytes"}))


def test_the_command(tmp_path: Path, lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    """`tocsin auth events IP` beside a state store in which the collector's salt is."""
    config = {
        "collectors": [{"kind": "auth_logs", "name": "auth", "source": {"file": "auth.jsonl"}, "start": "beginning",
                        "events": {"keep": "1d"}}],
        "rules": [], "routes": [{"match": {}, "notify": ["log"]}], "notifiers": [{"kind": "console", "name": "log"}],
    }  # fmt: skip
    (tmp_path / "config.yaml").write_text(json.dumps(config))
    now = datetime.now(UTC)
    (tmp_path / "auth.jsonl").write_bytes(lines.failed("203.0.113.9", time=now.isoformat()) + b"\n")
    monkeypatch.chdir(tmp_path)

    async def collect() -> str:
        state = await State.open(f"sqlite:///{tmp_path / 'tocsin.db'}")
        context = CollectorContext(checkpoint=state.checkpoint("auth"), poke=lambda: None, folder=tmp_path)
        collector = SPEC.build(SPEC.settings.model_validate(config["collectors"][0]), context)
        found = [item async for item in collector.collect(now)]
        await collector.close()
        await state.close()
        return next(item.labels["ip"] for item in found if not isinstance(item, Blind) and item.name == FAILURES)

    ip = asyncio.run(collect())
    run = CliRunner().invoke(cli, ["auth", "events", ip])
    assert (run.exit_code, "203.0.113.9" in run.stdout, ip in run.stdout) == (0, True, True)
    run = CliRunner().invoke(cli, ["auth", "events", "--json"])
    assert [(each["address"], each["ip"]) for each in json.loads(run.stdout)] == [("203.0.113.9", ip)]
    run = CliRunner().invoke(cli, ["auth", "events", "ip-0000000000"])
    assert (run.exit_code, "no such event" in run.stdout) == (0, True)
