"""Slow queries: each counted once, by whichever source saw it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from collectors.postgres.moments import Evidence
from collectors.postgres.slow import Running, SlowQueries, Suspect

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def run(age: float, pid: int = 1, *, query_id: int | None = 7, user: str = "app", backup: bool = False) -> Running:
    key = (pid, NOW - timedelta(hours=1), NOW - timedelta(minutes=pid))
    return Running(key=key, datname="shop", usename=user, age=age, query_id=query_id, backup=backup)


def suspect(
    evidence: Evidence = Evidence.CERTAIN,
    *,
    query_id: int = 7,
    calls: int = 1,
    top_level: bool | None = True,
    user: str = "app",
) -> Suspect:
    return Suspect(
        datname="shop", query_id=query_id, usename=user, calls=calls, evidence=evidence, seconds=1.5,
        top_level=top_level,
    )  # fmt: skip


def compare(slow: SlowQueries, *suspects: Suspect, gapless: bool = True) -> tuple[Suspect, ...]:
    return slow.compare(suspects, ended=slow.ended(), gapless=gapless, is_tracked=lambda _: True)


def counts(slow: SlowQueries) -> dict[tuple[str, str], float]:
    """By evidence and source, those that are not zero."""
    samples = slow.samples(NOW, NOW, "shop")
    return {
        (sample.labels["evidence"], sample.labels["source"]): sample.value
        for sample in samples
        if sample.name == "tocsin_pg_slow_queries_total" and sample.value
    }


def cancelled(slow: SlowQueries) -> float:
    return sum(sample.value for sample in slow.failed_samples(NOW, NOW))


def test_a_query_is_counted_when_it_crosses_and_not_again() -> None:
    """Seen at 0.9, 1.0 and 5 s it is one slow query."""
    slow = SlowQueries(threshold=1.0)
    found = [slow.look([run(age)])[0] for age in (0.9, 1.0, 5.0)]
    assert (found, counts(slow)) == ([0, 1, 0], {("certain", "activity"): 1})


def test_the_next_look_is_when_the_oldest_would_cross() -> None:
    """The look after seeing ages of 0.2 and 0.7 s is due in 0.3 s."""
    fresh, crossing = SlowQueries(threshold=1.0).look([run(0.2, 1), run(0.75, 2)])
    assert (fresh, crossing) == (0, 0.25)


def test_a_second_query_of_the_same_session_is_another() -> None:
    """The same pid with another query_start is counted anew."""
    slow = SlowQueries(threshold=1.0)
    slow.look([run(1.5, 1)])
    slow.look([run(1.5, 2)])
    assert counts(slow) == {("certain", "activity"): 2}


def test_backups_and_excluded_roles_are_left_out_of_both_sources() -> None:
    """What a dump runs is neither slow when seen nor when pg_stat_statements tells of it."""
    slow = SlowQueries(threshold=1.0, exclude_roles={"reporting"})
    slow.look([run(9, 1, backup=True, query_id=3), run(9, 2, user="reporting", query_id=4)])
    slow.look([])
    news = compare(slow, suspect(query_id=3), suspect(query_id=4), suspect(query_id=5, user="reporting"), gapless=False)
    assert (news, counts(slow)) == ((), {})


def test_what_was_seen_running_explains_the_figures() -> None:
    """pg_stat_statements tells of the same execution when it has ended: no second count."""
    slow = SlowQueries(threshold=1.0)
    slow.look([run(1.2)])
    slow.look([])
    assert compare(slow, suspect(), gapless=False) == ()


def test_an_end_noticed_late_explains_the_figures_as_well() -> None:
    """The snapshot may tell of an execution that the last look still saw; it is neither news nor, later, a failure."""
    slow = SlowQueries(threshold=1.0)
    slow.look([run(1.2)])
    first = compare(slow, suspect())
    slow.look([])
    second = compare(slow)
    assert (first, second, cancelled(slow)) == ((), (), 0)


def test_a_slow_query_that_never_completed_was_cancelled() -> None:
    """It ended and pg_stat_statements counted nothing: statement_timeout, an error, or somebody's cancel."""
    slow = SlowQueries(threshold=1.0)
    slow.look([run(1.2)])
    slow.look([])
    compare(slow)
    assert (counts(slow), cancelled(slow)) == ({("certain", "activity"): 1}, 1)


def test_certain_figures_that_nothing_explains_are_news() -> None:
    """A background worker's slow statement is seen by no look at clients; its figures prove it."""
    slow = SlowQueries(threshold=1.0)
    news = compare(slow, suspect(query_id=9))
    for found in news:
        slow.count(found)
    assert counts(slow) == {("certain", "statements"): 1}


def test_possible_is_news_only_where_nobody_looked() -> None:
    """Looks without a gap saw every client's slow query, so `possible` is `none`."""
    slow = SlowQueries(threshold=1.0)
    maybe = suspect(Evidence.POSSIBLE)
    assert (compare(slow, maybe, gapless=True), compare(slow, maybe, gapless=False)) == ((), (maybe,))


def test_what_a_function_ran_is_its_callers() -> None:
    """Nested statements would count the caller's time twice."""
    assert compare(SlowQueries(threshold=1.0), suspect(top_level=False), gapless=False) == ()


def test_a_first_count_says_when_it_was_zero() -> None:
    """The zero before it lets increase() see the very first one."""
    slow = SlowQueries(threshold=1.0)
    slow.look([run(1.2)])
    before = NOW - timedelta(seconds=10)
    (sample,) = [s for s in slow.samples(NOW, before, "shop") if s.name == "tocsin_pg_slow_queries_total"]
    assert (sample.value, sample.created) == (1, before)


def test_the_longest_is_told_once() -> None:
    """The gauge falls back to 0 at the poll after the query ended."""
    slow = SlowQueries(threshold=1.0)
    slow.look([run(4.0)])
    slow.look([])
    told = [
        [sample.value for sample in slow.samples(NOW, NOW, "shop") if sample.name == "tocsin_pg_slow_query_max_seconds"]
        for _ in range(2)
    ]
    assert told == [[4.0], [0.0]]
