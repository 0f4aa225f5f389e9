"""Which groups run when, and what of their alerts is news."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tocsin.model import AlertState, BlindSpot, Labels, Sample
from tocsin.rules import load_text
from tocsin.runtime.evaluation import Evaluation, RuleBook
from tocsin.series import Store

NOW = datetime(2026, 3, 1, tzinfo=UTC)

RULES = """
groups:
  - name: late
    rules:
      - {alert: Ratio, expr: "job:errors:ratio > 0.5"}
  - name: early
    rules:
      - {record: "job:errors:ratio", expr: "errors / requests"}
  - name: other
    interval: 1m
    rules:
      - {alert: Full, expr: "disk_used > 0.9"}
"""


class Bench:
    """A rule book over a store in memory."""

    def __init__(self, rules: str = RULES) -> None:
        self.store = Store()
        self.book = RuleBook(load_text(rules, "rules.yaml"))

    def samples(self, seconds: float, **values: float) -> None:
        at = NOW + timedelta(seconds=seconds)
        self.store.append(
            [Sample(name=name, labels=Labels(job="x"), value=value, at=at) for name, value in values.items()]
        )

    def run(self, seconds: float, *names: str, blind: tuple[BlindSpot, ...] = ()) -> Evaluation:
        now = NOW + timedelta(seconds=seconds)
        due = self.book.due(set(names), now)
        return self.book.evaluate(due, self.store, blind, now, sampled_at=now, record=self.record)

    def record(self, samples: object) -> None:
        self.store.append(samples)  # type: ignore[arg-type]

    def settle(self) -> None:
        """Everything has run once, so that only arrivals and intervals count from here on."""
        self.run(0)


def test_a_group_runs_when_what_it_reads_arrives_and_not_otherwise() -> None:
    """No timer of its own: the poll is the trigger."""
    bench = Bench()
    bench.settle()
    assert (bench.run(1, "disk_used").groups, bench.run(2, "something_else").groups) == (["other"], [])


def test_who_reads_what_another_group_records_runs_in_the_same_breath() -> None:
    """Also when it stands before it in the file: the alert does not wait for the next poll."""
    bench = Bench()
    bench.settle()
    bench.samples(1, errors=8, requests=10)
    done = bench.run(1, "errors", "requests")
    assert done.groups == ["early", "late"]
    assert [(change.alert.name, change.alert.state) for change in done.transitions] == [("Ratio", AlertState.FIRING)]


def test_a_group_that_nothing_reaches_runs_at_its_interval() -> None:
    """`absent()` and a `for` that elapses need time, not samples."""
    bench = Bench()
    bench.settle()
    assert [bench.run(second).groups for second in (14, 15, 59, 60)] == [
        [],
        ["late", "early"],
        ["late", "early"],
        ["other"],
    ]


def test_freezing_and_thawing_are_news_for_the_incident() -> None:
    """The message says "unknown since" as soon as it is so."""
    bench = Bench()
    bench.settle()
    bench.samples(1, disk_used=0.95)
    bench.run(1, "disk_used")
    spot = BlindSpot(source="x", why="down", since=NOW, metrics=frozenset({"disk_used"}), labels=Labels(job="x"))
    bench.store.append([])
    frozen = bench.run(400, "disk_used", blind=(spot,))
    bench.samples(500, disk_used=0.96)
    thawed = bench.run(500, "disk_used")
    assert [
        [(change.alert.state, bool(change.alert.frozen_why)) for change in done.transitions]
        for done in (frozen, thawed)
    ] == [[(AlertState.FIRING, True)], [(AlertState.FIRING, False)]]


def test_a_value_that_moves_is_nothing_to_store() -> None:
    """A continuing alert costs no write."""
    bench = Bench()
    bench.settle()
    bench.samples(1, disk_used=0.95)
    bench.run(1, "disk_used")
    bench.samples(2, disk_used=0.97)
    done = bench.run(2, "disk_used")
    assert (done.transitions, done.changed) == ([], [])


def test_the_same_problem_is_new_once() -> None:
    """The log does not repeat at every poll what it has said."""
    bench = Bench('groups: [{name: g, rules: [{alert: A, expr: "a / on () a"}]}]')
    for second in (1, 2):
        at = NOW + timedelta(seconds=second)
        bench.store.append([Sample(name="a", labels=Labels(i=i), value=1, at=at) for i in ("1", "2")])
        done = bench.run(second, "a")
        assert len(done.new_problems) == (1 if second == 1 else 0)


def test_alerts_of_rules_that_are_gone_end_with_a_reason() -> None:
    """After a reload whoever was told of them is told so."""
    bench = Bench()
    bench.settle()
    bench.samples(1, disk_used=0.95)
    bench.run(1, "disk_used")
    after = RuleBook(load_text(RULES.replace("Full", "Fuller"), "rules.yaml"), bench.book.all_alerts().values())
    ends = after.end_orphans(NOW + timedelta(seconds=2))
    assert [(end.alert.name, end.alert.state, "removed" in end.why) for end in ends] == [
        ("Full", AlertState.RESOLVED, True)
    ]
    assert after.all_alerts() == {}
