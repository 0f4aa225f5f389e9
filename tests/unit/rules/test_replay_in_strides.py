"""A replay in strides gives the same as one step by step, on random rules and samples."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tocsin.model import Labels, Sample, Transition, utc
from tocsin.rules import Group, load_text
from tocsin.rules.entangled import placed, stepwise
from tocsin.rules.strides import Stretch, Strides
from tocsin.series import Layered, Store

START = utc(1_700_000_000)
STEP = 15.0
Rows = Sequence[Sequence[float | None]]


def store_of(rows: Rows) -> Store:
    """Series `m{i="0"}` …: a value per step, None for no sample; and `total`, which counts the steps."""
    store = Store(retention=1e9)
    for number, values in enumerate(rows):
        at = START + timedelta(seconds=STEP * number)
        store.append(
            Sample(name="m", labels=Labels(i=str(i)), value=value, at=at)
            for i, value in enumerate(values)
            if value is not None
        )
        store.append([Sample(name="total", value=float(number), at=at)])
    return store


def groups_of(rules: Sequence[str], **keys: object) -> tuple[Group, ...]:
    """A group per three rules."""
    text = "groups:\n"
    for number in range(0, len(rules), 3):
        extra = "".join(f", {key}: {value}" for key, value in keys.items())
        body = ", ".join(f"{{{rule}}}" for rule in rules[number : number + 3])
        text += f"  - {{name: g{number}{extra}, rules: [{body}]}}\n"
    return load_text(text)


def stretches(
    groups: Sequence[Group], store: Store, steps: int, *, without: Sequence[tuple[float, float]] = (),
    in_strides: bool = True, stride: int = 7,
) -> list[Stretch]:  # fmt: skip
    hidden = {name for group in groups for name in group.yields}
    strides = Strides(groups, Layered(store, hidden), STEP, stride=stride, in_strides=in_strides)
    spans = [(START + timedelta(seconds=a), START + timedelta(seconds=b)) for a, b in without]
    return list(strides.over(START, START + timedelta(seconds=STEP * (steps - 1)), without=spans))


def changes(found: Sequence[Stretch]) -> list[Transition]:
    """In an order that does not depend on how they were found."""
    return sorted(
        (change for stretch in found for change in stretch.transitions),
        key=lambda change: (change.at, change.alert.rule, change.alert.id, change.alert.state),
    )


RULES = (
    "record: r, expr: 'm * 2'",
    "record: s, expr: 'sum(r)', labels: {team: db}",
    "alert: High, expr: 'm > 2'",
    "alert: Held, expr: 'm > 1', for: 45s, annotations: {summary: '{{ $labels.i }} is {{ $value }}'}",
    "alert: Kept, expr: 'm > 2', for: 30s, keep_firing_for: 1m, labels: {who: 'i{{ $labels.i }}'}",
    "alert: OfRecorded, expr: 'r > 4', for: 15s",
    "alert: OfSum, expr: 's{team=\"db\"} > 3', keep_firing_for: 30s",
    "alert: Gone, expr: 'absent(m{i=\"1\"})', for: 1m",
    "alert: Rate, expr: 'increase(total[1m]) > 3'",
    "alert: Varies, expr: 'm > 1', labels: {level: '{{ $value }}'}",
    "alert: Asks, expr: 'm > 2', annotations: {n: '{{ with query \"count(m)\" }}{{ . | first | value }}{{ end }}'}",
    "alert: OfAlerts, expr: 'ALERTS{alertname=\"High\"}', for: 15s",
    "record: back, expr: 'later + 1 or sum(m)'",
    "record: later, expr: 'back + 1'",
    "alert: OfLater, expr: 'later > 20'",
    "alert: Fails, expr: 'm + on() m > 2'",
    "record: sometimes, expr: 'm > 1 + on() group_left() total'",
    "alert: OfSometimes, expr: 'sometimes > 2'",
    "alert: Twice, expr: 'm > 2', labels: {i: same}",
    "alert: AtEnd, expr: 'm @ end() > 2'",
    "alert: Number, expr: 'scalar(sum(m)) > bool 3'",
    "alert: Any, expr: '{__name__=~\"r|later\"} > 5'",
)


def rows_of(dice: random.Random) -> Rows:
    """Two series over 20 to 60 steps: a value often stays, and now and then there is none."""
    rows: list[list[float | None]] = []
    for _ in range(dice.randint(20, 60)):
        before = rows[-1] if rows else [0.0, 0.0]
        rows.append(
            [
                value if dice.random() < 0.5 else None if dice.random() < 0.2 else float(dice.randint(0, 4))
                for value in before
            ]
        )
    return rows


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_strides_give_the_transitions_of_single_steps(seed: int) -> None:
    """Whatever the samples, the order of the rules, and where the strides end: alerts, times, values and texts."""
    dice = random.Random(seed)
    rows, rules = rows_of(dice), dice.sample(RULES, dice.randint(2, 7))
    keys: dict[str, object] = dice.choice([{}, {}, {"limit": 1}, {"query_offset": "15s"}])
    groups, store = groups_of(rules, **keys), store_of(rows)
    slow = stretches(groups, store, len(rows), in_strides=False)
    assert changes(stretches(groups, store, len(rows), stride=dice.randint(1, 20))) == changes(slow)


def test_the_rules_of_a_plain_set_go_in_strides() -> None:
    """Else the test above would compare a thing with itself."""
    found = stretches(groups_of(RULES[:9]), store_of([[3.0, 1.0]] * 20), 20)
    assert frozenset().union(*(stretch.stepwise for stretch in found)) == frozenset()


def test_what_depends_on_the_step_before_goes_step_by_step() -> None:
    """And whoever reads it, or is read by it."""
    groups = groups_of((*RULES[:2], *RULES[12:15], RULES[11], RULES[2]))
    names = [one.rule.name for one in placed(groups)]
    chosen = {names[place] for place in stepwise(placed(groups))}
    assert chosen == {"back", "later", "OfLater", "OfAlerts", "High"}


def test_nothing_is_evaluated_while_the_daemon_was_not_running() -> None:
    """What was firing before goes on after; `absent` says nothing meanwhile."""
    rows: Rows = [[3.0, 3.0]] * 10 + [[None, None]] * 40 + [[3.0, 3.0]] * 10
    groups = groups_of([RULES[2], RULES[7]])
    gap = (9 * STEP, 50 * STEP)
    fast = stretches(groups, store_of(rows), 60, without=[gap])
    assert {change.at for change in changes(fast)} == {START}
    assert sum(stretch.steps for stretch in fast) == 20


@pytest.mark.parametrize("stride", [1, 5, 100])
def test_a_rule_that_fails_freezes_its_alerts_in_strides_too(stride: int) -> None:
    """Many-to-many at some steps only: unknown is not OK, and it thaws."""
    text = "alert: Some, expr: 'sum by (i) (m) > 1 and on() (total * on() group_left() (m > 1))'"
    rows: Rows = [[2.0, 0.0]] * 5 + [[2.0, 2.0]] * 5 + [[0.0, 0.0]] * 10
    groups, store = groups_of([text]), store_of(rows)
    fast = stretches(groups, store, 20, stride=stride)
    assert changes(fast) == changes(stretches(groups, store, 20, in_strides=False))
    assert any(stretch.problems for stretch in fast)
