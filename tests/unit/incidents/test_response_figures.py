"""The figures of response: what is counted, and what is left out where there was nothing to count."""

from __future__ import annotations

from datetime import timedelta

from tocsin.incidents.response import Handled, Said, figures, silence_debt
from tocsin.model import (
    Alert,
    AlertState,
    Incident,
    IncidentState,
    Labels,
    Matcher,
    MatchOp,
    Severity,
    Silence,
    utc,
)

NOW = utc(1_700_000_000)
P0, P1, P2 = Severity.P0, Severity.P1, Severity.P2
MINUTE = timedelta(minutes=1)


def handled(
    severity: Severity = P0, *, acked: float | None = None, ended: float | None = None, why: str = "",
    reopened: int = 0, alerts: int = 1, pages: int = 1,
) -> Handled:  # fmt: skip
    """Times in minutes after its begin, an hour ago."""
    began = NOW - 60 * MINUTE
    incident = Incident(
        id="i-1", route="r", group=Labels(), state=IncidentState.OPEN, severity=severity, members=(), opened_at=began,
        updated_at=began, resolved_at=None if ended is None else began + ended * MINUTE, resolved_why=why,
        reopened=reopened,
    )  # fmt: skip
    taken = None if acked is None else began + acked * MINUTE
    return Handled(incident=incident, alerts=alerts, acked_at=taken, pages=pages, posts=1)


def test_nothing_happened() -> None:
    """No figure is made up: not "100 % precision", not "0 s"."""
    found = figures((), (), (), NOW)
    assert (found.acknowledge, found.resolve, found.sent) == ({}, {}, {})
    assert (found.precision, found.flaps, found.folded) == (None, None, None)
    assert (found.pages, found.incidents[P0]) == ({P0: 0, P1: 0}, 0)


def test_times_by_severity_are_of_those_that_were_taken_and_have_ended() -> None:
    """Nearest rank: each figure is one that somebody had."""
    several = [handled(acked=minutes, ended=10 * minutes) for minutes in range(1, 11)]
    found = figures([*several, handled(), handled(P1, acked=30)], (), (), NOW)
    assert found.acknowledge == {(P0, 0.5): 300.0, (P0, 0.9): 540.0, (P1, 0.5): 1800.0, (P1, 0.9): 1800.0}
    assert found.resolve == {(P0, 0.5): 3000.0, (P0, 0.9): 5400.0}


def test_precision_is_the_share_that_needed_somebody() -> None:
    """Taken or closed by a person; what goes on untaken is not judged yet, and what did not page does not count."""
    found = figures(
        [
            handled(acked=1), handled(ended=5, why="ana closed it: known"), handled(ended=5), handled(),
            handled(P2, ended=5, pages=0),
        ],
        (), (), NOW,
    )  # fmt: skip
    assert found.precision == 2 / 3


def test_flaps_and_folding() -> None:
    """Came back, of all; alerts for each first message."""
    found = figures([handled(reopened=2, alerts=7), handled(), handled(), handled()], (), (), NOW)
    assert (found.flaps, found.folded) == (0.25, 2.5)


def test_pages_of_a_shift_and_the_slowest_message() -> None:
    """Twelve hours; a hundred messages, of which the slowest but one is the p99."""
    rang = [(P0, NOW - timedelta(hours=hours)) for hours in (1, 11, 13)]
    said = [Said(severity=P0, decided_at=NOW, arrived_at=NOW + timedelta(seconds=n)) for n in range(1, 101)]
    found = figures((), said, rang, NOW)
    assert (found.pages[P0], found.sent) == (2, {(P0, 0.99): 99.0})


def test_silence_debt_is_what_fires_and_is_hidden_now() -> None:
    """From when both are true; an alert under two silences counts once, one that is not hidden not at all."""

    def alert(service: str, hours: float) -> Alert:
        at = NOW - timedelta(hours=hours)
        return Alert(
            rule="g;A", labels=Labels(service=service), state=AlertState.FIRING, value=1.0, active_at=at, fired_at=at
        )

    def silence(begin: float, end: float) -> Silence:
        return Silence(
            id=f"s{begin}", matchers=(Matcher(name="service", op=MatchOp.EQUAL, value="api"),),
            starts_at=NOW - timedelta(hours=begin), ends_at=NOW + timedelta(hours=end), created_by="ana", why="w",
        )  # fmt: skip

    debt = silence_debt(
        [alert("api", 5), alert("api", 1), alert("web", 5)], [silence(3, 1), silence(2, 1), silence(9, -1)], NOW
    )
    assert debt == 4 * 3600
