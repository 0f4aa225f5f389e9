"""Values of `for` and `keep_firing_for`, tried over samples: what they would have spared, as a replay has it."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.model import AlertState, Labels, Sample, utc
from tocsin.rules import AlertRule, Group, load_text
from tocsin.rules.strides import Strides
from tocsin.rules.tuning import Remedy, Time, conditions, firing, tuned
from tocsin.series import Layered, Store

START = utc(1_700_000_000)
STEP = 60.0
MINUTE = timedelta(minutes=1)


def group_of(hold: int = 0, keep: int = 0) -> tuple[Group, AlertRule]:
    text = f"groups: [{{name: g, rules: [{{alert: A, expr: m > 0, for: {hold}m, keep_firing_for: {keep}m}}]}}]"
    (group,) = load_text(text)
    (rule,) = group.rules
    assert isinstance(rule, AlertRule)
    return group, rule


def store_of(*series: str) -> Store:
    """A character a minute: `#` is where the condition holds."""
    store = Store(retention=1e9)
    for number, values in enumerate(zip(*series, strict=True)):
        at = START + number * MINUTE
        store.append(
            Sample(name="m", labels=Labels(i=str(i)), value=float(value == "#"), at=at)
            for i, value in enumerate(values)
        )
    return store


def held_in(*series: str, rule: AlertRule, group: Group) -> list[list[Time]]:
    end = START + (len(series[0]) - 1) * MINUTE
    past = conditions({rule.id}, [group], Layered(store_of(*series), set()), step=STEP, start=START, end=end)
    return past[rule.id]


def minutes(begin: int, end: int) -> Time:
    return START + begin * MINUTE, START + end * MINUTE


@pytest.mark.untraced
@settings(max_examples=25, deadline=None)
@given(st.lists(st.text("#.", min_size=30, max_size=30), min_size=1, max_size=2), st.integers(0, 4), st.integers(0, 4))
def test_what_is_worked_out_is_what_a_replay_has(series: list[str], hold: int, keep: int) -> None:
    """When a rule with these values fires: the same as replaying that very rule."""
    series = [text + "." * 10 for text in series]
    group, rule = group_of(hold, keep)
    worked_out = firing(held_in(*series, rule=rule, group=group), hold * MINUTE, keep * MINUTE)
    fires = [False] * len(series[0])
    active: set[str] = set()
    changes = [
        change
        for stretch in Strides([group], Layered(store_of(*series), set()), STEP).over(START, START + 39 * MINUTE)
        for change in stretch.transitions
    ]
    for minute in range(len(fires)):
        for change in changes:
            if change.at == START + minute * MINUTE:
                (active.add if change.alert.state is AlertState.FIRING else active.discard)(change.alert.id)
        fires[minute] = bool(active)
    edges = [i + 1 for i, (before, after) in enumerate(pairwise([*fires, False])) if before != after]
    begins = ([0] if fires[0] else []) + edges
    replayed = [minutes(a, b) for a, b in zip(begins[::2], begins[1::2], strict=True)]
    assert _joined(worked_out) == _joined(replayed)


def _joined(times: list[Time]) -> list[Time]:
    """One that ends in the minute in which the next begins is the same page."""
    out: list[Time] = []
    for time in times:
        if out and time[0] <= out[-1][1]:
            out[-1] = (out[-1][0], time[1])
        else:
            out.append(time)
    return out


@pytest.mark.parametrize(
    ("series", "taken", "remedy"),
    [
        ("###..###..###..###............", ((0, 3),), Remedy(keep=2 * MINUTE, spares=3, replayed=True)),
        (
            "#....................######...................#.",
            ((21, 27),),
            Remedy(hold=1 * MINUTE, spares=2, replayed=True),
        ),
        (
            "#....................######...................#.",
            ((0, 1),),
            Remedy(keep=30 * MINUTE, spares=2, replayed=True),
        ),
        ("###...................................#########", ((0, 3),), None),
        ("..............", (), None),
    ],
    ids=["flaps", "short ones", "a short one was taken", "nothing to spare", "it never held"],
)
def test_the_change_that_spares_most_and_costs_nothing_taken(
    series: str, taken: tuple[tuple[int, int], ...], remedy: Remedy | None
) -> None:
    """`for` for what is short, `keep_firing_for` for what comes back; what somebody took must still fire."""
    group, rule = group_of()
    held = held_in(series, rule=rule, group=group)
    assert tuned(rule, held, [minutes(*time) for time in taken]) == remedy


def test_label_sets_that_fire_together_count_once() -> None:
    """They are one incident more often than not."""
    group, rule = group_of()
    assert len(firing(held_in("#..##..", ".#.#...", rule=rule, group=group), timedelta(0), timedelta(0))) == 2
