"""Lines through the collector's own counting and the shipped rules, on a virtual clock; what was found and what not.

A poll every `pace` seconds, also where the daemon would look sooner because the log grew: times to detection are upper
bounds. What a series' end means is told to the store as the daemon does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import Final

from collectors.auth_logs.counts import Counts
from collectors.auth_logs.quiet import Quiet
from tocsin.model import STALE, AlertState, Labels, Sample, Seconds
from tocsin.rules import Group
from tocsin.rules.strides import Strides
from tocsin.series import Layered, Store
from tocsin.testing.sign_ins.attacks import KINDS, Attack, Kind, attack
from tocsin.testing.sign_ins.days import DAY, HOUR, SERVERS, Days
from tocsin.testing.sign_ins.lines import Line

START: Final = datetime(2026, 8, 3, tzinfo=UTC)
"""A Monday."""
JOB: Final = "auth"
AFTERMATH: Final[Seconds] = 3_600.0
"""An alert this long after an attack is still about it: the longest window of a rule."""
PAGES: Final = ("P0", "P1")


@dataclass(frozen=True)
class Fired:
    """An alert that began to fire."""

    name: str
    severity: str
    at: Seconds
    labels: str


@dataclass(frozen=True)
class Verdict:
    """What came of one attack."""

    attack: Attack
    found: Fired | None

    @property
    def since_due(self) -> Seconds | None:
        """From the line that met the condition to the alert; 0 when it came earlier."""
        return max(0.0, self.found.at - self.attack.due) if self.found else None

    @property
    def since_begin(self) -> Seconds | None:
        return self.found.at - self.attack.begin if self.found else None


@dataclass
class Account:
    """What the rules made of some days."""

    days: int
    lines: int = 0
    series: int = 0
    verdicts: list[Verdict] = field(default_factory=list)
    false: list[Fired] = field(default_factory=list)
    """Alerts about no attack, of every severity."""

    @property
    def false_pages(self) -> list[Fired]:
        return [fired for fired in self.false if fired.severity in PAGES]

    def by_name(self) -> dict[str, int]:
        """False alerts."""
        return dict(sorted(Counter(f"{fired.severity} {fired.name}" for fired in self.false).items()))


def replay(
    groups: Sequence[Group],
    *,
    days: int,
    seed: int,
    hook: bool = True,
    each: int = 2,
    pace: Seconds = 30.0,
    kinds: Sequence[Kind] = KINDS,
    hours: int = 24,
) -> Account:
    """`each` attacks of these kinds at random times. The last day ends after `hours`."""
    random = Random(seed)
    end = (days - 1) * DAY + hours * HOUR
    attacks = injected(random, [kind for kind in kinds for _ in range(each)], until=end, hook=hook)
    traffic = Days(seed, hook=hook)
    account = Account(days)
    store = Store(retention=1e9)
    quiet = Quiet([SimpleNamespace(action="*", network=SERVERS)])
    counts = Counts(salt=b"replay", top_ips=50, top_users=50, idle=3600, show_ips=True, quiet=quiet)
    reads = frozenset(name for group in groups for rule in group.rules for name in rule.plan.reads or ())
    polls = _Polls(counts, store, reads, pace)
    rest: Sequence[Line] = ()
    for day in range(days):
        midnight = START.timestamp() + day * DAY
        lines = traffic.day(midnight, day % 7)
        lines += [line for one in attacks for line in one.lines if midnight <= line.at < midnight + DAY]
        account.lines += len(lines)
        upto = min(midnight + DAY, START.timestamp() + end)
        rest = polls.take(sorted([*rest, *lines], key=lambda line: line.at), midnight, upto)
    account.series = polls.most
    fired = list(_fired(groups, store, START, START + timedelta(seconds=end), pace))
    _judge(account, attacks, fired)
    return account


def injected(random: Random, kinds: Sequence[Kind], *, until: Seconds, hook: bool) -> list[Attack]:
    """An attack of each kind, none within two hours of another: what is found is then one's own."""
    slots = int(until // (2 * HOUR))
    if slots < len(kinds):
        raise ValueError(f"{len(kinds)} attacks, each in two hours of its own, want more time than {until:.0f} s")
    found = []
    for number, (kind, slot) in enumerate(zip(kinds, random.sample(range(slots), len(kinds)), strict=True)):
        at = START.timestamp() + slot * 2 * HOUR + random.uniform(0, 1200)
        found.append(attack(kind, at, number, random, hook=hook))
    return sorted(found, key=lambda one: one.begin)


class _Polls:
    """The collector's polls of a log that others write."""

    def __init__(self, counts: Counts, store: Store, reads: frozenset[str], pace: Seconds) -> None:
        self._counts = counts
        self._reads = reads
        """The metrics that rules look at; the others need no storing."""
        self._store = store
        self._pace = pace
        self._before: datetime | None = None
        self._alive: set[tuple[str, Labels]] = set()
        self._labels: dict[Labels, Labels] = {}
        self.most = 0
        """Series at once, at most."""

    def take(self, lines: Sequence[Line], begin: Seconds, end: Seconds) -> Sequence[Line]:
        """Poll from `begin` to before `end`; returned is what is younger than the last poll."""
        place, at = 0, begin
        while at < end:
            upto = place
            while upto < len(lines) and lines[upto].at <= at:
                upto += 1
            self._counts.take([line.text for line in lines[place:upto]])
            self._poll(datetime.fromtimestamp(at, UTC))
            place, at = upto, at + self._pace
        return lines[place:]

    def _poll(self, at: datetime) -> None:
        self._counts.settle(at, self._before)
        found = list(self._counts.samples(at, self._before))
        self.most = max(self.most, len(found))
        samples = [self._job(sample) for sample in found if sample.name in self._reads]
        alive = {(sample.name, sample.labels) for sample in samples}
        ended = [Sample(name=name, labels=labels, value=STALE, at=at) for name, labels in self._alive - alive]
        self._store.append([*samples, *ended])
        self._alive, self._before = alive, at

    def _job(self, sample: Sample) -> Sample:
        labels = self._labels.get(sample.labels)
        if labels is None:
            labels = self._labels[sample.labels] = sample.labels.with_(job=JOB)
        return Sample(name=sample.name, labels=labels, value=sample.value, at=sample.at, created=sample.created)


def _fired(groups: Sequence[Group], store: Store, start: datetime, end: datetime, pace: Seconds) -> Iterator[Fired]:
    yielded = {name for group in groups for name in group.yields}
    strides = Strides(groups, Layered(store, yielded), pace)
    for stretch in strides.over(start, end):
        if stretch.problems:
            raise AssertionError(stretch.problems[0])
        for change in stretch.transitions:
            alert = change.alert
            if alert.state is AlertState.FIRING and change.before is not AlertState.FIRING:
                yield Fired(alert.name, alert.labels["severity"], change.at.timestamp(), repr(alert.labels))


def _judge(account: Account, attacks: Sequence[Attack], fired: Sequence[Fired]) -> None:
    for one in attacks:
        own = [alert for alert in fired if alert.name in one.expects and one.begin <= alert.at <= one.end + AFTERMATH]
        account.verdicts.append(Verdict(one, min(own, key=lambda alert: alert.at, default=None)))
    account.false = [
        alert for alert in fired if not any(one.begin <= alert.at <= one.end + AFTERMATH for one in attacks)
    ]
