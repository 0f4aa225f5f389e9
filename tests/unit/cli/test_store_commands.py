"""The commands that work on the state store, beside a daemon or without one."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import Result

from tocsin.access.tokens import Scope, is_valid
from tocsin.incidents import Book, Destination, Outcome, Plan, react
from tocsin.incidents.matching import parse_matcher
from tocsin.incidents.routes import Route, Router
from tocsin.incidents.told import Hidden
from tocsin.model import Alert, AlertState, Silence, Transition
from tocsin.state import Change, State
from tocsin.state.inbox import Inbox
from tocsin.testing.notifications import an_alert
from tocsin.testing.world import empty_store

Run = Callable[..., Result]

NOW = datetime.now(UTC).replace(microsecond=0)
PLAN = Plan(
    router=Router([Route(name="pages", notify=("log",), group_by=("service",))]),
    destinations={"log": Destination(name="log")},
)
FIRING = an_alert(active_at=NOW - timedelta(minutes=5), fired_at=NOW - timedelta(minutes=5))


class Store:
    """The folder's state store, and the daemon's part of it."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder}/tocsin.db"
        (folder / "tocsin.db").write_bytes(empty_store())

    def holds(self, *alerts: Alert) -> str:
        """Stores these alerts, and the incident they make → its id."""

        async def fill() -> str:
            state = await State.open(self.url)
            outcome = react(Book(plan=PLAN), [Transition(alert=alert, before=None, at=NOW) for alert in alerts], NOW)
            await state.commit(Change.of(outcome, alerts))
            await state.close()
            return next(iter(outcome.book.files), "")

        return asyncio.run(fill())

    def gives_up(self, why: str) -> None:
        """The one message that waits is a dead letter."""

        async def give_up() -> None:
            state = await State.open(self.url)
            (claim,) = await state.outbox.claim_due("log", datetime.now(UTC), owner="me", lease=60)
            await state.outbox.give_up(claim, why, datetime.now(UTC))
            await state.close()

        asyncio.run(give_up())

    def hides(self, silence: str, incident: str, *, told: bool) -> None:
        """A silence that holds, and hid the incident."""
        ends = datetime.now(UTC) + timedelta(hours=1)
        made = Silence(
            id=silence, matchers=(parse_matcher("service=checkout-api"),), starts_at=NOW, ends_at=ends,
            created_by="ana", why="deploy",
        )  # fmt: skip
        hidden = Hidden(silence=silence, incident=incident, notifier="slack", at=NOW, told_at=NOW if told else None)

        async def fill() -> None:
            state = await State.open(self.url)
            await state.commit(Change(silences=(made,), hidden=(hidden,)))
            await state.close()

        asyncio.run(fill())

    def serve_until(self, enough: threading.Event) -> None:
        """What the daemon does with requests."""

        async def serve() -> None:
            state = await State.open(self.url)
            restored = await state.load(NOW)
            book = restored.book(PLAN, NOW)

            async def act(action: Callable[[Book, datetime], Outcome]) -> Outcome:
                nonlocal book
                outcome = action(book, datetime.now(UTC))
                await state.commit(Change.of(outcome))
                book = outcome.book
                return outcome

            while not enough.is_set():
                await Inbox(state).serve(act, datetime.now(UTC))
                await asyncio.sleep(0.02)
            await state.close()

        asyncio.run(serve())


@pytest.fixture
def store(folder: Path) -> Store:
    return Store(folder)


@pytest.fixture
def incident(store: Store) -> str:
    """The id of the one incident that is open."""
    return store.holds(FIRING)


@pytest.fixture
def daemon(store: Store, incident: str) -> Iterator[None]:
    """Answers requests while the test runs."""
    enough = threading.Event()
    thread = threading.Thread(target=store.serve_until, args=(enough,))
    thread.start()
    yield
    enough.set()
    thread.join(timeout=30)


# Tokens --------------------------------------------------------------------------------------------------------------


def test_a_created_token_is_valid_and_only_its_hash_is_kept(run: Run, folder: Path) -> None:
    """The JSON is the only time that it is shown."""
    made = json.loads(run("token", "create", "--scope", "query:read", "--scope", "metrics:read", "--json").stdout)

    async def stored() -> tuple[bool, frozenset[Scope]]:
        state = await State.open(f"sqlite:///{folder}/tocsin.db", migrate=False)
        row = await state.tokens.get(made["id"])
        await state.close()
        assert row is not None
        return is_valid(made["token"], row, datetime.now(UTC)), row.scopes

    assert asyncio.run(stored()) == (True, {Scope.QUERY_READ, Scope.METRICS_READ})
    assert {*made} == {"id", "token", "scopes", "expires_at"}
    assert made["token"].rpartition("_")[2].encode() not in (folder / "tocsin.db").read_bytes()


def test_the_token_alone_is_on_standard_output(run: Run) -> None:
    """For `TOCSIN_TOKEN=$(tocsin token create …)`."""
    result = run("token", "create", "--scope", "admin")
    assert (len(result.stdout.splitlines()), "It is not shown again" in result.stderr) == (1, True)


def test_a_token_may_expire(run: Run) -> None:
    """A duration from now."""
    made = json.loads(run("token", "create", "--scope", "admin", "--expires-in", "2h", "--json").stdout)
    left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=1, minutes=58) < left <= timedelta(hours=2)


def test_an_unknown_scope_lists_those_there_are(run: Run) -> None:
    """Exit 2."""
    result = run("token", "create", "--scope", "read")
    assert (result.exit_code, "'metrics:read'" in result.output) == (2, True)


def test_a_revoked_token_is_listed_as_such(run: Run) -> None:
    """It stays in the list, so that a log's id can be looked up."""
    made = json.loads(run("token", "create", "--scope", "admin", "--note", "old", "--json").stdout)
    assert run("token", "revoke", made["id"]).output == f"{made['id']} revoked\n"
    assert run("token", "list").output.splitlines()[1].split() == [made["id"], "revoked", "-", "admin", "old"]


def test_revoking_a_stranger_is_a_finding(run: Run) -> None:
    """Exit 1: whoever revokes wants to be sure."""
    run("token", "create", "--scope", "admin")
    assert run("token", "revoke", "abc").exit_code == 1


def test_a_list_never_shows_a_secret(run: Run) -> None:
    """Neither it nor its hash."""
    token = run("token", "create", "--scope", "admin").stdout.strip()
    listed = run("token", "list", "--json").output + run("token", "list").output
    assert (token.rpartition("_")[2] in listed, "digest" in listed) == (False, False)


# Alerts and incidents ------------------------------------------------------------------------------------------------


def test_alerts_are_listed_the_worst_first(run: Run, store: Store) -> None:
    """Firing before pending."""
    pending = an_alert(labels={"severity": "P0", "service": "a"}, state=AlertState.PENDING, fired_at=None)
    minor = an_alert(labels={"severity": "P2", "service": "b"})
    store.holds(pending, minor, FIRING)
    rows = [line.split() for line in run("alerts").output.splitlines()[1:]]
    assert [(row[0], row[2]) for row in rows] == [("P0", "firing"), ("P2", "firing"), ("P0", "pending")]


def test_alerts_may_be_narrowed(run: Run, store: Store) -> None:
    """By matchers, as silences are written."""
    store.holds(FIRING, an_alert(labels={"service": "b"}))
    found = json.loads(run("alerts", "service=~b|c", "--json").output)
    assert [alert["labels"]["service"] for alert in found] == ["b"]


def test_a_matcher_that_is_none_shows_the_form(run: Run, store: Store) -> None:
    """Exit 2."""
    store.holds()
    result = run("alerts", "a b c")
    assert (result.exit_code, 'write it like alertname="ApiDown"' in result.output) == (2, True)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["alerts"], "nothing is firing\n"),
        (["incidents", "list"], "no open incidents (--all shows those that have ended)\n"),
        (["incidents", "list", "--all"], "no incidents yet\n"),
        (["silence", "list"], "no silences; add one: tocsin silence add MATCHER… --for 2h --why TEXT\n"),
        (
            ["silence", "windows"],
            "no windows; add one to `windows` in the configuration: see `tocsin check --example`\n",
        ),
        (["token", "list"], "no tokens; make one: tocsin token create --scope query:read\n"),
    ],
)
def test_nothing_to_list_is_said(run: Run, store: Store, command: list[str], told: str) -> None:
    """An empty table would look like a failure; the JSON is an empty list."""
    store.holds()
    assert (run(*command).output, json.loads(run(*command, "--json").output)) == (told, [])


@pytest.mark.parametrize("command", ["alerts", "incidents list", "silence list", "token list", "state check"])
def test_without_a_store_it_is_said_how_to_get_one(run: Run, folder: Path, command: str) -> None:
    """Listing makes no file."""
    result = run(*command.split())
    assert (result.exit_code, "start the daemon, or run `tocsin state migrate`" in result.stderr) == (1, True)
    assert not (folder / "tocsin.db").exists()


def test_open_incidents_are_listed(run: Run, incident: str) -> None:
    """One line each, with what it is about."""
    row = run("incidents", "list").output.splitlines()[1].split()
    assert (row[0], row[1], row[2], row[-2:]) == (incident, "P0", "open", ["HighErrorRate", "service=checkout-api"])


def test_an_incident_is_told_as_a_story(run: Run, incident: str) -> None:
    """Its alerts, and each decision with its reason."""
    shown = run("incidents", "show", incident).output
    assert [text in shown for text in (f"{incident}  P0 open", "log: post (new_incident): ")] == [True, True]


def test_what_was_given_up_is_shown_and_listed(run: Run, store: Store, incident: str) -> None:
    """With why, in the incident's story and in the list of all."""
    assert run("incidents", "dead").output == "nothing was given up\n"
    store.gives_up("the channel is archived")
    assert "log: post dead: the channel is archived" in run("incidents", "show", incident).output
    (undelivered,) = json.loads(run("incidents", "show", incident, "--json").output)["undelivered"]
    (letter,) = json.loads(run("incidents", "dead", "--json").output)
    assert (undelivered["state"], letter["error"], letter["notifier"]) == ("dead", "the channel is archived", "log")
    assert incident in run("incidents", "dead").output


def test_an_incident_as_json_has_its_decisions(run: Run, incident: str) -> None:
    """For programs."""
    shown = json.loads(run("incidents", "show", incident, "--json").output)
    assert (shown["id"], shown["decisions"][0]["reason"]) == (incident, "new_incident")


def test_an_incident_that_is_not_there_is_a_finding(run: Run, incident: str) -> None:
    """Exit 1, and where to look."""
    result = run("incidents", "show", "i-x")
    assert (result.exit_code, result.stderr) == (1, "there is no incident i-x; see: tocsin incidents list --all\n")


@pytest.mark.usefixtures("daemon")
def test_an_ack_is_done_by_the_daemon(run: Run, incident: str) -> None:
    """The command waits for it and says what came of it."""
    result = run("incidents", "ack", incident, "--by", "ana", "--wait", "20s")
    assert (result.exit_code, result.output) == (0, f"{incident} acknowledged by ana\n")
    assert json.loads(run("incidents", "show", incident, "--json").output)["acked_by"] == "ana"


@pytest.mark.usefixtures("daemon")
def test_an_incident_is_closed_by_hand(run: Run, incident: str) -> None:
    """With the reason in its history."""
    run("incidents", "resolve", incident, "--why", "rolled back", "--by", "ana", "--wait", "20s")
    shown = json.loads(run("incidents", "show", incident, "--json").output)
    assert shown["resolved_why"] == "ana closed it: rolled back"


@pytest.mark.usefixtures("daemon")
def test_what_the_daemon_refuses_is_a_finding(run: Run) -> None:
    """Exit 1, with its reason."""
    result = run("incidents", "ack", "i-x", "--wait", "20s")
    assert (result.exit_code, result.stderr) == (1, "there is no open incident i-x; see: tocsin incidents list\n")


def test_without_a_daemon_a_request_is_kept_and_said_so(run: Run, incident: str) -> None:
    """Exit 1: nobody has it yet."""
    result = run("incidents", "ack", incident, "--wait", "0s")
    assert (result.exit_code, result.stderr) == (
        1,
        "no daemon has answered: it is kept, and done when one runs (tocsin run)\n",
    )


# Silences ------------------------------------------------------------------------------------------------------------


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


# State ---------------------------------------------------------------------------------------------------------------


def test_migrate_makes_a_store(run: Run, folder: Path) -> None:
    """And may be repeated."""
    assert [run("state", "migrate").exit_code for _ in range(2)] == [0, 0]
    assert (folder / "tocsin.db").exists()


def test_a_backup_is_a_store_of_its_own(run: Run, folder: Path, incident: str) -> None:
    """It is restored by being put in place."""
    run("state", "backup", "backup.db")
    (folder / "config.yaml").write_text((folder / "config.yaml").read_text() + "state: {url: sqlite:///backup.db}\n")
    assert json.loads(run("incidents", "list", "--json").output)[0]["id"] == incident


def test_a_backup_overwrites_nothing(run: Run, folder: Path, incident: str) -> None:
    """Least of all the last good one."""
    (folder / "there.db").touch()
    result = run("state", "backup", "there.db")
    assert (result.exit_code, "there.db exists: name a new file" in result.stderr) == (1, True)


def test_a_sound_store_is_sound(run: Run, incident: str) -> None:
    """Exit 0."""
    assert (run("state", "check").exit_code, run("state", "check").output) == (0, "sound\n")


def test_a_file_that_is_no_store_is_told(run: Run, folder: Path) -> None:
    """With what to do; never a traceback."""
    (folder / "tocsin.db").write_bytes(b"this is no database at all, it is just text. " * 200)
    result = run("state", "check")
    assert (result.exit_code, "the file is not a state store" in result.stderr) == (1, True)
