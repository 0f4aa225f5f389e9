"""tocsin silence: what it hides is said before and after, and what is not meant is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from .conftest import Run, Store


@pytest.mark.usefixtures("daemon")
def test_a_silence_says_what_it_hides_and_is_listed(run: Run) -> None:
    """Including that there is a P0 among it."""
    result = run(
        "silence", "add", "service=checkout-api", "--for", "2h", "--why", "deploy", "--by", "ana", "--wait", "20s"
    )
    assert (result.exit_code, result.stdout.splitlines()[0]) == (
        0,
        "hides 1 now, 0 in the last 30 days, including 1 P0",
    )
    (listed,) = json.loads(run("silence", "list", "--json").output)
    assert (listed["matchers"], listed["created_by"], listed["why"], listed["holds"]) == (
        ['service="checkout-api"'],
        "ana",
        "deploy",
        True,
    )


@pytest.mark.usefixtures("daemon")
def test_a_silence_is_ended_early(run: Run) -> None:
    """It is in the list no more."""
    run("silence", "add", "service=checkout-api", "--for", "2h", "--why", "deploy", "--wait", "20s")
    (listed,) = json.loads(run("silence", "list", "--json").output)
    assert run("silence", "expire", listed["id"], "--wait", "20s").output == f"{listed['id']} ended\n"
    assert json.loads(run("silence", "list", "--json").output) == []


@pytest.mark.usefixtures("daemon")
def test_what_a_silence_hid_is_listed_and_shown(run: Run, store: Store, incident: str) -> None:
    """From whom, and when that was told; before it has ended, that it will be."""
    store.hides("s-1", incident, told=False)
    (listed,) = json.loads(run("silence", "list", "--json").output)
    assert (listed["id"], listed["hid"], listed["told_at"]) == ("s-1", 1, None)
    assert "when it has ended" in run("silence", "show", "s-1").output
    store.hides("s-1", incident, told=True)
    (hidden,) = json.loads(run("silence", "show", "s-1", "--json").output)["hidden"]
    assert (hidden["incident"], hidden["severity"], hidden["told_at"] is None) == (incident, "P0", False)
    assert (run("silence", "show", "s-2").exit_code, "HID" in run("silence", "list", "--all").output) == (1, True)


def test_windows_say_whether_they_hold(run: Run, folder: Path) -> None:
    """One of them does; the other comes in less than a year."""
    with (folder / "config.yaml").open("a") as config:
        begins = datetime.now(UTC) - timedelta(minutes=5)
        config.write(f"""windows:
  - {{name: now, cron: "{begins.minute} {begins.hour} * * *", lasts: 1h, match: {{service: web}}, why: deploys}}
  - {{name: never-now, cron: "0 0 {(begins + timedelta(days=9)).day} * *", lasts: 1h, match: {{service: api}}}}
""")
    holding, other = json.loads(run("silence", "windows", "--json").output)
    assert (holding["window"], holding["holds"], other["holds"], other["ends_at"]) == ("now", True, False, None)
    first, second = run("silence", "windows").output.splitlines()[1:]
    assert (first.split()[:3], second.split()[:2]) == (["now", "holds,", "ends"], ["never-now", "in"])


def test_a_preview_changes_nothing(run: Run, incident: str) -> None:
    """It counts, and names what fires."""
    result = run("silence", "preview", "service=checkout-api")
    assert result.output.splitlines()[0] == "hides 1 now, 0 in the last 30 days, including 1 P0"
    assert json.loads(run("silence", "list", "--json").output) == []


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["severity=~.*", "--for", "2h", "--why", "x"], "or it hides everything"),
        (["service=a", "--for", "60d", "--why", "x"], "a silence may last 30 days"),
        (["service=a", "--for", "2 hours", "--why", "x"], "write it like 30s, 5m or 1h30m"),
        (["service=a", "--for", "0s", "--why", "x"], "a silence must end after it starts"),
        (["service=a", "--for", "2h", "--why", " "], "a silence needs a reason (--why)"),
        (["service=a", "--for", "2h"], "Missing option '--why'"),
        (["service=~(", "--for", "2h", "--why", "x"], "not a regular expression"),
        (["service=a", "--for", "2h", "--why", "x", "--starts", "noon"], "'noon' is no time"),
    ],
)
def test_a_silence_that_is_not_meant_is_refused(run: Run, store: Store, args: list[str], told: str) -> None:
    """Exit 2, before anything is stored."""
    store.holds()
    result = run("silence", "add", *args)
    assert (result.exit_code, told in result.output) == (2, True)
