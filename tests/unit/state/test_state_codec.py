"""Nouns as JSON and back: nothing is lost on the way, whatever a label or a value holds."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.incidents import Told
from tocsin.incidents.told import Via
from tocsin.model import Alert, AlertState, Incident, IncidentState, Labels, Severity
from tocsin.state import codec

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
times = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001
maybe = st.none() | times
labels = st.dictionaries(texts.filter(bool), texts, max_size=4).map(Labels)
alerts = st.builds(
    Alert, rule=texts, labels=labels, annotations=labels, state=st.sampled_from(AlertState),
    value=st.floats(allow_nan=False), active_at=times, fired_at=maybe, resolved_at=maybe, keep_firing_since=maybe,
    frozen_since=maybe, frozen_why=texts, ends_at=st.none(), source_url=st.just(""),
)  # fmt: skip
incidents = st.builds(
    Incident, id=texts, route=texts, group=labels, state=st.sampled_from(IncidentState),
    severity=st.sampled_from(Severity), members=st.lists(alerts, max_size=3).map(tuple), opened_at=times,
    updated_at=times, revision=st.integers(1, 10**6), acked_at=maybe, acked_by=texts, resolved_at=maybe,
    resolved_why=texts, reopened=st.integers(0, 99), peak=st.integers(0, 10**5),
)  # fmt: skip
tellings = st.builds(
    Told, incident=texts, notifier=texts, via=st.sampled_from(Via), post=texts, at=maybe, revision=st.integers(0, 999),
    severity=st.sampled_from(Severity), state=st.sampled_from(IncidentState), delta_at=maybe, edit_at=maybe,
    escalated=st.integers(0, 9), reminded_at=maybe, reminders=st.integers(0, 9), owed=texts,
)  # fmt: skip


@given(incidents)
def test_an_incident_comes_back_as_it_was(incident: Incident) -> None:
    """To the microsecond, members and all."""
    assert codec.incident_of(codec.parse(codec.dump(codec.incident_json(incident, members=True)))) == incident


@given(tellings)
def test_what_was_told_comes_back_as_it_was(told: Told) -> None:
    """Every field of it."""
    doc = codec.parse(codec.dump(codec.told_json(told)))
    assert codec.told_of(told.incident, told.notifier, told.via, doc) == told


DAY = datetime(2026, 1, 5, tzinfo=UTC)
ALERT = Alert(rule="g;A", labels=Labels(a="b"), state=AlertState.FIRING, value=1, active_at=DAY)


@pytest.mark.parametrize("value", [math.inf, -math.inf, 0.1, -0.0, 5e-324])
def test_values_that_json_has_no_word_for_come_back(value: float) -> None:
    """An alert on a division by zero fires at +Inf."""
    back = codec.alert_of(codec.parse(codec.dump(codec.alert_json(replace(ALERT, value=value)))))
    assert (back.value, math.copysign(1, back.value)) == (value, math.copysign(1, value))


def test_not_a_number_comes_back_as_such() -> None:
    """And not as null."""
    back = codec.alert_of(codec.parse(codec.dump(codec.alert_json(replace(ALERT, value=math.nan)))))
    assert math.isnan(back.value)


def test_a_label_that_is_no_utf8_loses_a_character_and_not_the_alert() -> None:
    """A lone surrogate from a broken log line."""
    back = codec.alert_of(codec.parse(codec.dump(codec.alert_json(replace(ALERT, labels=Labels(a="x\ud800y"))))))
    assert back.labels == Labels(a="x?y")


def test_what_a_column_can_not_hold_is_replaced() -> None:
    """Postgres takes no NUL."""
    assert codec.printable("a\x00b\ud800") == "a\ufffdb?"


def test_a_time_of_another_zone_comes_back_as_the_same_instant() -> None:
    """Whoever made it."""
    at = datetime(2026, 1, 5, 12, tzinfo=UTC).astimezone(tz=None) + timedelta(microseconds=1)
    back = codec.alert_of(codec.parse(codec.dump(codec.alert_json(replace(ALERT, active_at=at)))))
    assert back.active_at == at
