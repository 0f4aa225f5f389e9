"""Policy, rule by rule: what each says, and when it leaves the word to the next."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tocsin.incidents import Destination, Told, policy
from tocsin.incidents.context import Context, Mute
from tocsin.incidents.deltas import delta_text
from tocsin.incidents.dues import next_look
from tocsin.incidents.policy import decide
from tocsin.incidents.routes import FALLBACK, Digest, Escalation, Route
from tocsin.incidents.told import Via
from tocsin.model import (
    Action,
    Alert,
    AlertState,
    Decision,
    Incident,
    IncidentState,
    Labels,
    Reason,
    Severity,
)
from tocsin.testing.clock import START as NOW

CHAT = Destination(name="chat", edits=True)
HOOK = Destination(name="hook")
SILENCED = Mute(reason=Reason.SILENCED_BY, because="silenced by ana", until=NOW + timedelta(hours=1))


def after(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


def alert(pod: str = "a", *, state: AlertState = AlertState.FIRING, at: float = 0, severity: str = "P0") -> Alert:
    labels = Labels(alertname="ApiDown", service="api", severity=severity, pod=pod)
    return Alert(
        rule="g;ApiDown", labels=labels, state=state, value=1, active_at=NOW, fired_at=NOW + after(min(at, 0)),
        resolved_at=NOW + after(at) if state is AlertState.RESOLVED else None,
    )  # fmt: skip


def incident(*members: Alert, **values: object) -> Incident:
    base = Incident(
        id="i-1", route="pages", group=Labels(service="api"), state=IncidentState.OPEN, severity=Severity.P0,
        members=members or (alert(),), opened_at=NOW, updated_at=NOW, peak=1,
    )  # fmt: skip
    return replace(base, **values)  # type: ignore[arg-type]


def resolved(**values: object) -> Incident:
    return incident(
        alert(state=AlertState.RESOLVED, at=60),
        **{"state": IncidentState.RESOLVED, "resolved_at": NOW + after(60), "revision": 2, **values},
    )


NEW = Told(incident="i-1", notifier="chat")
POSTED = replace(
    NEW, via=Via.POST, post="i-1:chat:post:1", at=NOW, revision=1, severity=Severity.P0, delta_at=NOW, edit_at=NOW
)


def context(told: Told = POSTED, *, to: Destination = CHAT, **values: object) -> Context:
    base = Context(route=Route(name="pages"), destination=to, told=told, voice=Severity.P0)
    return replace(base, **values)  # type: ignore[arg-type]


def said(decision: Decision | None) -> tuple[Action, Reason] | None:
    return None if decision is None else (decision.action, decision.reason)


# Each rule -----------------------------------------------------------------------------------------------------------


def test_low_severity_waits_for_the_digest_and_then_is_told_there() -> None:
    """P2 and P3 wake nobody; the hold says until when."""
    route = Route(name="notes", digest=Digest())
    low = context(NEW, route=route, voice=Severity.P2)
    held = policy.low_severity(incident(), low, NOW)
    assert held is not None
    assert (said(held), held.until) == ((Action.HOLD, Reason.LOW_SEVERITY), NOW.replace(day=6, hour=9, minute=0))
    assert said(policy.low_severity(incident(), low, held.until or NOW)) == (Action.DIGEST, Reason.DIGEST_DUE)


@pytest.mark.parametrize(
    "given",
    [
        context(NEW, route=Route(digest=Digest()), voice=Severity.P1),
        context(NEW, voice=Severity.P3),
        context(replace(NEW, via=Via.DIGEST, at=NOW, revision=1), route=Route(digest=Digest()), voice=Severity.P3),
        context(POSTED, route=Route(digest=Digest()), voice=Severity.P3),
        context(NEW, route=Route(digest=Digest()), voice=Severity.P3, mute=SILENCED),
    ],
    ids=["a page never waits", "no digest", "told already", "has a message of its own", "silenced"],
)
def test_what_no_digest_holds(given: Context) -> None:
    """The next rules decide."""
    assert policy.low_severity(incident(), given, NOW + after(86_400)) is None


def test_a_digest_tells_the_end_of_what_a_digest_told_silenced_or_not() -> None:
    """Resolution debt, the quiet way."""
    told = replace(NEW, via=Via.DIGEST, at=NOW, revision=1)
    given = context(told, route=Route(digest=Digest()), voice=Severity.P3, mute=SILENCED)
    assert said(policy.low_severity(resolved(), given, NOW + after(86_400))) == (Action.DIGEST, Reason.DIGEST_DUE)


def test_what_ended_before_anyone_was_told_is_kept_and_not_told() -> None:
    """It says why nobody was."""
    held = policy.ended_untold(resolved(), context(NEW, mute=SILENCED), NOW)
    assert held is not None
    assert (said(held), held.because) == (
        (Action.HOLD, Reason.ENDED_UNTOLD), "ended before anyone was told: silenced by ana",
    )  # fmt: skip


def test_an_heir_pays_the_debt_of_a_notifier_that_is_gone() -> None:
    """Told "firing" on one that is no longer configured: told the end on its successor."""
    given = context(replace(NEW, owed="old-chat"))
    assert said(policy.ended_untold(resolved(), given, NOW)) == (Action.POST, Reason.RESOLUTION_DEBT)


def test_the_end_is_told_once() -> None:
    """Once told, nothing more."""
    told = replace(POSTED, state=IncidentState.RESOLVED, revision=2)
    assert said(decide(resolved(), context(told), NOW)) == (Action.HOLD, Reason.NOTHING_NEW)


def test_what_fired_and_ended_again_unheard_is_shown_as_ended() -> None:
    """It was silenced; an edit that was on its way may have shown that it fires."""
    told = context(replace(POSTED, state=IncidentState.RESOLVED, revision=2))
    again = resolved(revision=4, reopened=1)
    assert said(decide(again, told, NOW)) == (Action.EDIT, Reason.RECOVERED)
    assert said(decide(again, replace(told, destination=HOOK), NOW)) == (Action.HOLD, Reason.NOTHING_NEW)


def test_the_end_of_what_flaps_waits_for_the_flap_window() -> None:
    """The message shows it at once; the thread hears of it when it stays away."""
    flaps, quiet = resolved(reopened=2), NOW + after(60 + 600)
    shown = policy.flapping(flaps, context(), NOW + after(61))
    assert shown is not None
    assert (said(shown), shown.until) == ((Action.EDIT, Reason.WITHIN_FLAP_WINDOW), quiet)
    edited = context(replace(POSTED, revision=2))
    assert said(policy.flapping(flaps, edited, NOW + after(61))) == (Action.HOLD, Reason.WITHIN_FLAP_WINDOW)
    assert policy.flapping(flaps, edited, quiet) is None
    assert said(decide(flaps, edited, quiet)) == (Action.RESOLVE, Reason.RECOVERED)


def test_a_first_return_is_no_flapping() -> None:
    """Its end is told at once."""
    assert policy.flapping(resolved(reopened=1), context(), NOW + after(61)) is None


def test_whoever_was_told_is_told_the_end() -> None:
    """With how long it lasted."""
    told = policy.resolution_debt(resolved(), context(), NOW + after(61))
    assert told is not None
    assert (said(told), told.because) == (
        (Action.RESOLVE, Reason.RECOVERED), "all of its alerts have ended after 1m",
    )  # fmt: skip


def test_a_silence_does_not_swallow_the_end() -> None:
    """Whoever was told "firing" is told "resolved", silenced or not; the reason says so."""
    told = decide(resolved(), context(mute=SILENCED), NOW + after(61))
    assert said(told) == (Action.RESOLVE, Reason.RESOLUTION_DEBT)
    assert "silenced by ana" in told.because


def test_the_end_of_what_a_digest_told_is_a_message_where_digests_have_ceased() -> None:
    """A reload took the route's digest away: there is no thread to say it in."""
    told = replace(NEW, via=Via.DIGEST, at=NOW, revision=1, severity=Severity.P2)
    given = context(told, voice=Severity.P2)
    assert said(decide(resolved(), given, NOW + after(61))) == (Action.POST, Reason.RESOLUTION_DEBT)


def test_that_somebody_took_it_shows_even_while_silenced() -> None:
    """An edit rings nobody."""
    taken = incident(state=IncidentState.ACKED, acked_at=NOW, acked_by="ana", revision=2)
    shown = decide(taken, context(mute=SILENCED), NOW)
    assert (said(shown), shown.because) == ((Action.EDIT, Reason.ACKED), "ana took it")
    known = context(replace(POSTED, state=IncidentState.ACKED, revision=2))
    assert policy.acked(taken, known, NOW) is None


def test_nothing_is_said_while_everything_is_muted() -> None:
    """The hold says by whom, and until when."""
    held = decide(incident(), context(NEW, mute=SILENCED), NOW)
    assert (said(held), held.until) == ((Action.HOLD, Reason.SILENCED_BY), SILENCED.until)


def test_past_its_budget_a_destination_gets_no_new_message() -> None:
    """But goes on hearing of what it was told."""
    soon = NOW + after(30)
    held = decide(incident(), context(NEW, budget_until=soon), NOW)
    assert (said(held), held.until) == ((Action.HOLD, Reason.OVER_BUDGET), soon)
    assert policy.over_budget(incident(), context(POSTED, budget_until=soon), NOW) is None


def test_a_new_incident_is_told_at_once() -> None:
    """And says by which route."""
    told = decide(incident(), context(NEW), NOW)
    assert (said(told), told.because) == ((Action.POST, Reason.NEW_INCIDENT), "new P0 of route pages")


def test_what_no_route_takes_is_told_and_says_so() -> None:
    """So that somebody gives it one."""
    told = decide(incident(), context(NEW, route=Route(name=FALLBACK)), NOW)
    assert said(told) == (Action.POST, Reason.NO_ROUTE)


def test_what_a_digest_told_and_became_a_page_gets_a_message_of_its_own() -> None:
    """It was P3 and is P0."""
    told = replace(NEW, via=Via.DIGEST, at=NOW, revision=1, severity=Severity.P3)
    given = context(told, route=Route(digest=Digest()))
    assert said(decide(incident(revision=2), given, NOW)) == (Action.POST, Reason.SEVERITY_ROSE)


def test_what_fires_again_goes_on_in_its_thread() -> None:
    """No new page within the flap window."""
    told = replace(POSTED, state=IncidentState.RESOLVED, revision=2)
    again = decide(incident(revision=3, reopened=1), context(told), NOW + after(90))
    assert said(again) == (Action.THREAD, Reason.REOPENED)
    assert again.because.startswith("fires again, 2nd time")


def test_what_fires_again_and_worse_is_said_aloud() -> None:
    """A thread reply rings nobody."""
    told = replace(POSTED, state=IncidentState.RESOLVED, revision=2, severity=Severity.P1)
    again = decide(incident(revision=3, reopened=1), context(told), NOW + after(90))
    assert said(again) == (Action.BROADCAST, Reason.SEVERITY_ROSE)


def test_where_there_are_no_threads_what_fires_again_is_a_message() -> None:
    """A webhook that was told "resolved" must hear that it fires."""
    told = replace(POSTED, state=IncidentState.RESOLVED, revision=2)
    again = decide(incident(revision=3, reopened=1), context(told, to=HOOK), NOW + after(90))
    assert said(again) == (Action.POST, Reason.REOPENED)


def test_that_it_got_worse_is_said_aloud() -> None:
    """An edit rings nobody."""
    given = context(replace(POSTED, severity=Severity.P1))
    worse = decide(incident(revision=2), given, NOW)
    assert (said(worse), worse.because) == ((Action.BROADCAST, Reason.SEVERITY_ROSE), "was P1, is P0 now")


def test_unacked_too_long_escalates_step_by_step() -> None:
    """Each step once, at its time, counted from the first message."""
    route = Route(escalate=(Escalation(after=300, to=("backup",)), Escalation(after=900, to=("manager",))))
    first = context(route=route)
    assert policy.unacked_too_long(incident(), first, NOW + after(299)) is None
    escalated = policy.unacked_too_long(incident(), first, NOW + after(300))
    assert escalated is not None
    assert (said(escalated), escalated.because) == (
        (Action.ESCALATE, Reason.UNACKED_TOO_LONG), "nobody has acked in 5m: backup",
    )  # fmt: skip
    second = context(replace(POSTED, escalated=1), route=route)
    assert policy.unacked_too_long(incident(), second, NOW + after(899)) is None
    assert said(policy.unacked_too_long(incident(), second, NOW + after(900))) is not None
    assert (
        policy.unacked_too_long(incident(), context(replace(POSTED, escalated=2), route=route), NOW + after(9e5))
        is None
    )


def test_what_was_acked_neither_escalates_nor_reminds() -> None:
    """Somebody has it."""
    route = Route(escalate=(Escalation(after=300, to=("backup",)),), repeat=60)
    taken = incident(state=IncidentState.ACKED)
    assert policy.unacked_too_long(taken, context(route=route), NOW + after(3000)) is None
    assert policy.remind(taken, context(route=route), NOW + after(3000)) is None


def test_reminders_come_only_where_the_route_repeats() -> None:
    """And each counts from the one before."""
    assert policy.remind(incident(), context(), NOW + after(9e5)) is None
    repeats = Route(repeat=1800)
    assert policy.remind(incident(), context(route=repeats), NOW + after(1799)) is None
    assert said(policy.remind(incident(), context(route=repeats), NOW + after(1800))) == (
        Action.REMIND, Reason.UNACKED_TOO_LONG,
    )  # fmt: skip
    reminded = context(replace(POSTED, reminded_at=NOW + after(1800), reminders=1), route=repeats)
    assert policy.remind(incident(), reminded, NOW + after(3599)) is None


def test_who_joined_is_edited_in_at_once_and_told_in_the_thread_later() -> None:
    """A burst of joins is one reply."""
    joined = replace(alert("b"), fired_at=NOW + after(5))
    grown = incident(alert("a"), joined, revision=2)
    assert said(decide(grown, context(), NOW + after(5))) == (Action.EDIT, Reason.MEMBERS_CHANGED)
    known = context(replace(POSTED, revision=2))
    assert said(decide(grown, known, NOW + after(59))) == (Action.HOLD, Reason.NOTHING_NEW)
    told = decide(grown, known, NOW + after(60))
    assert (said(told), told.because) == ((Action.THREAD, Reason.MEMBERS_CHANGED), "1 more: b; 2 firing")


def test_the_older_the_incident_the_rarer_its_deltas() -> None:
    """An incident of ten hours says who joined once an hour."""
    told = replace(POSTED, delta_at=NOW + after(36_000), revision=2)
    joined = replace(alert("b"), fired_at=NOW + after(36_001))
    grown = incident(alert("a"), joined, revision=2)
    assert next_look(grown, context(told), NOW + after(36_001)) == NOW + after(36_000 + 3600)


def test_a_delta_names_five_and_counts_the_rest() -> None:
    """Who ended is told beside who joined; who came and went in between is not."""
    joined = [replace(alert(f"n{i}"), fired_at=NOW + after(5)) for i in range(7)]
    left = alert("old", state=AlertState.RESOLVED, at=9)
    passing = replace(alert("x", state=AlertState.RESOLVED, at=9), fired_at=NOW + after(3))
    grown = incident(alert("a"), *joined, left, passing)
    assert delta_text(grown, POSTED) == "7 more: n0, n1, n2, n3, n4 and 2 others; 1 ended: old; 8 firing"


def test_a_destination_without_edits_hears_no_deltas() -> None:
    """Only what it can show: messages, escalations, ends."""
    joined = replace(alert("b"), fired_at=NOW + after(5))
    grown = incident(alert("a"), joined, revision=2)
    assert said(decide(grown, context(to=HOOK), NOW + after(600))) == (Action.HOLD, Reason.NOTHING_NEW)


# When to look again --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (context(), None),
        (context(NEW, mute=SILENCED), 3600.0),
        (context(NEW, budget_until=NOW + after(30)), 30.0),
        (context(route=Route(escalate=(Escalation(after=300, to=("b",)),))), 300.0),
        (context(route=Route(repeat=1800)), 1800.0),
        (context(NEW, route=Route(digest=Digest()), voice=Severity.P3), 18 * 3600 + 58 * 60.0),
    ],
    ids=["nothing to come", "silence", "budget", "escalation", "reminder", "digest"],
)
def test_the_next_look_is_when_time_alone_changes_the_answer(given: Context, expected: float | None) -> None:
    """The tick does nothing before."""
    look = next_look(incident(), given, NOW)
    assert (None if look is None else (look - NOW).total_seconds()) == expected
