"""The endpoint collector's judgement and samples, without a socket."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from collectors.endpoint.answer import Answer, Reason, shortfalls
from collectors.endpoint.declarations import METRICS
from collectors.endpoint.expect import Expect
from collectors.endpoint.samples import Tally, samples_of, verdict_of
from collectors.endpoint.target import Target
from tocsin.model import Sample

AT = datetime(2026, 8, 20, 9, 0, tzinfo=UTC)
TARGET = Target(url="https://app.example/healthz?token=1", service="app", expect=Expect(max_seconds=1.0))


def tally() -> Tally:
    return Tally(bounds=(0.1, 1.0), since=AT)


def values(samples: list[Sample], name: str) -> dict[str, float]:
    return {repr(s.labels.without("instance", "service")): s.value for s in samples if s.name == name}


@pytest.mark.parametrize(
    ("expect", "answer", "reasons"),
    [
        ({}, {"status": 204}, ()),
        ({}, {"status": 301}, (Reason.STATUS,)),
        ({"status": 404}, {"status": 404}, ()),
        ({"status": [200, 404]}, {"status": 200}, ()),
        ({"body_contains": "ok"}, {"status": 200, "body": "is ok"}, ()),
        ({"body_contains": "ok"}, {"status": 200, "body": "OK"}, (Reason.BODY,)),
        ({"body_matches": "^o.$"}, {"status": 200, "body": "ok"}, ()),
        ({"body_matches": "(?i)^OK$", "body_contains": "x"}, {"status": 200, "body": "ok"}, (Reason.BODY,)),
        ({"max_seconds": 0.5}, {"status": 200, "total": 0.5}, ()),
        ({"max_seconds": 0.5}, {"status": 500, "total": 0.6}, (Reason.STATUS, Reason.SLOW)),
        ({"body_contains": "ok"}, {"failure": Reason.DNS}, (Reason.DNS,)),
        ({"max_seconds": 0.5}, {"failure": Reason.TIMEOUT, "total": 4}, (Reason.TIMEOUT, Reason.SLOW)),
    ],
)
def test_every_expectation_is_judged(expect: dict[str, object], answer: dict[str, object], reasons: object) -> None:
    """The shortfalls of an answer, each expectation on its own."""
    assert shortfalls(Expect.model_validate(expect), Answer(**{"total": 0.1, **answer})) == reasons  # type: ignore[arg-type]


def test_a_hostile_body_costs_linear_time() -> None:
    """A pattern that takes a backtracking engine forever is answered at once (RE2)."""
    expect = Expect(body_matches="^(a+)+$")
    assert shortfalls(expect, Answer(total=0.1, status=200, body="a" * 50_000 + "b")) == (Reason.BODY,)


def test_the_histogram_is_cumulative() -> None:
    """Buckets hold what lies at or below their bound, +Inf holds all."""
    counts = tally()
    for total in (0.05, 0.1, 0.5, 3.0):
        samples = list(samples_of(TARGET, Answer(total=total, status=200), AT, counts))
    assert values(samples, "tocsin_endpoint_duration_seconds_bucket") == {
        '{le="0.1"}': 2,
        '{le="1.0"}': 3,
        '{le="+Inf"}': 4,
    }
    assert values(samples, "tocsin_endpoint_duration_seconds_count") == {"{}": 4}
    assert values(samples, "tocsin_endpoint_duration_seconds_sum") == {"{}": pytest.approx(3.65)}


def test_a_refusal_does_not_look_fast() -> None:
    """What was not answered is counted as a failure, not as a duration."""
    samples = list(samples_of(TARGET, Answer(total=0.001, failure=Reason.CONNECT), AT, tally()))
    assert values(samples, "tocsin_endpoint_duration_seconds_count") == {"{}": 0}
    assert values(samples, "tocsin_endpoint_probes_total") == {'{outcome="success"}': 0, '{outcome="failure"}': 1}


def test_a_verdict_is_told_once() -> None:
    """After an early verdict the answer adds what else is wrong, and no second `up` at the same time."""
    early = list(verdict_of(TARGET, AT, (Reason.SLOW,), aliases=True))
    late = list(samples_of(TARGET, Answer(total=2.0, status=500), AT, tally(), told_slow=True))
    both = [(s.name, s.labels) for s in early + late]
    assert len(both) == len(set(both))
    assert values(early + late, "tocsin_endpoint_failure") == {'{reason="slow"}': 1, '{reason="status"}': 1}


def test_an_early_verdict_stands() -> None:
    """Told slow is counted as a failure, even when the measured time lies just below the limit."""
    samples = list(samples_of(TARGET, Answer(total=0.9999, status=200), AT, tally(), told_slow=True))
    assert values(samples, "tocsin_endpoint_probes_total") == {'{outcome="success"}': 0, '{outcome="failure"}': 1}


def test_aliases_can_be_left_out() -> None:
    """`blackbox_names: false` yields no probe_* series."""
    answer = Answer(total=0.1, status=200, certificate_expires_at=1.0)
    names = {s.name for s in samples_of(TARGET, answer, AT, tally(), aliases=False)}
    assert [name for name in names if name.startswith("probe_")] == []


def test_all_that_is_yielded_is_declared() -> None:
    """Every name and label stands in METRICS."""
    declared = {name: set(metric.labels) | {"le"} for metric in METRICS for name in metric.series_names()}
    answer = Answer(total=0.1, status=500, phases={"dns": 0.1}, certificate_expires_at=1.0)
    for sample in samples_of(TARGET, answer, AT, tally()):
        assert set(sample.labels) <= declared[sample.name], sample


def test_the_instance_hides_the_query() -> None:
    """A query may hold a token, and labels are shown in messages."""
    assert {s.labels["instance"] for s in samples_of(TARGET, Answer(total=0.1, status=200), AT, tally())} == {
        "https://app.example/healthz"
    }
