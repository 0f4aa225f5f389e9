"""tocsin alerts and tocsin incidents, beside a daemon or without one."""

from __future__ import annotations

import json

import pytest

from tocsin.model import AlertState
from tocsin.testing.notifications import an_alert

from .conftest import FIRING, Run, Store


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
