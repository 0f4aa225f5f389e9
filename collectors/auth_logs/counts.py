"""Everything that is counted, as a value that survives a restart, and as samples.

`take` counts lines; `settle` ends a poll: label sets that are new since the last one get the time at which they were
zero. No I/O and no clock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from collectors.auth_logs import declarations as are
from collectors.auth_logs.events import OVERSIZE, Audit, Event, Kind, Meaning
from collectors.auth_logs.quiet import Quiet
from collectors.auth_logs.samples import counted, iso, labels_of, time_of
from collectors.auth_logs.subjects import Subjects
from collectors.auth_logs.tally import Tally, read_lines
from collectors.auth_logs.top import OTHER
from tocsin.model import Sample, Seconds

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LONGEST: Final = 1 << 53
"""Nanoseconds; a longer duration is none."""
_NANOSECONDS: Final = (*(round(bound * 1e9) for bound in BUCKETS), _LONGEST)
_LE: Final = (*(repr(bound) for bound in BUCKETS), "+Inf")
_VALUES_PER_METRIC: Final = 300
"""Label sets of one metric; more are counted as `other`. GoTrue has fewer: this is for a log that isn't GoTrue's."""
_REQUESTS_REMEMBERED: Final = 1024

Key = tuple[str, tuple[str, ...]]
"""Metric and label values, in the order of its declaration."""

_METRICS: Final = {metric.name: metric for metric in are.METRICS}
_FROM_THE_START: Final = (
    *((are.SIGN_INS, (outcome, "password")) for outcome in ("success", "failure", "error")),
    *((metric, (outcome,)) for metric in (are.MFA, are.REFRESHES, are.SIGN_UPS) for outcome in ("success", "failure")),
    *((are.LINES, (kind.value,)) for kind in Kind),
    (are.GAPS, ()),
    (are.BACKFILLED, ()),
)
"""Label sets that exist at zero, so that a ratio of them is a figure before the first failure."""


class Counts:
    """The counters of one log."""

    def __init__(
        self,
        *,
        salt: bytes,
        top_ips: int,
        idle: Seconds,
        show_ips: bool,
        top_users: int = 50,
        quiet: Quiet | None = None,
    ) -> None:
        self.salt = salt
        self._quiet = quiet or Quiet()
        self._subjects = Subjects(salt=salt, top_ips=top_ips, top_users=top_users, idle=idle, show_ips=show_ips)
        self._counters: dict[Key, int] = {(metric.name, labels): 0 for metric, labels in _FROM_THE_START}
        self._born: dict[Key, datetime | None] = {}
        self._durations: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}
        self._audited: dict[str, None] = {}
        """Requests whose audit line was counted and whose request line has yet to come: it says the same again."""
        self.last_event: Seconds = 0.0
        """The newest line's own time, since the epoch; 0: none yet."""
        # Since the last settle:
        self._meanings: Counter[Meaning] = Counter()
        self._named: Counter[tuple[Meaning, str]] = Counter()
        """By meaning and address."""
        self._audits: Counter[Audit] = Counter()
        self._more: Counter[Key] = Counter()

    def take(self, lines: Sequence[bytes], *, max_line: int = 1 << 30) -> None:
        """Count lines."""
        tally = Tally()
        read_lines(lines, tally, max_line=max_line)
        self._meanings.update(tally.meanings)
        for meaning, took in tally.took.items():
            self._meanings[meaning] += len(took)
            self._answered(meaning.route, took)
        self._named.update(tally.named)
        for event in tally.events:
            self._subjects.take(event)
        self._audit(tally)
        if tally.time:
            self.last_event = max(self.last_event, _seconds(tally.time))

    def take_oversize(self, count: int) -> None:
        """Lines that were too long to be read at all."""
        if count:
            self._meanings[OVERSIZE.meaning] += count

    def take_gap(self, count: int) -> None:
        """Times that unread lines were lost."""
        if count:
            self._more[are.GAPS.name, ()] += count

    def take_backfilled(self, count: int) -> None:
        """Lines that were fetched because they had not come."""
        if count:
            self._more[are.BACKFILLED.name, ()] += count

    def settle(self, at: datetime, born: datetime | None) -> None:
        """A poll has read what there was. What is new in it was zero at `born`; None: it is history, no burst."""
        for meaning, count in self._meanings.items():
            for metric, labels in _counted_as(meaning):
                self._more[metric, labels] += count
        for audit, count in self._audits.items():
            self._more[are.AUDIT_EVENTS.name, tuple(audit)] += count
        for (meaning, address), count in self._named.items():
            if meaning.admin:
                quiet = self._quiet.holds(meaning.admin, address)
                self._more[are.ADMIN_ACTIONS.name, (meaning.admin, quiet)] += count
            else:
                self._subjects.take(Event(meaning, address), count)
        for (metric, labels), count in self._more.items():
            key = self._bounded(metric, labels)
            self._counters[key] = self._counters.get(key, 0) + count
            self._born.setdefault(key, born)
        for key in self._counters:
            self._born.setdefault(key, at)
        for route in self._durations:
            self._born.setdefault((are.DURATION.name, (route,)), born)
        self._subjects.settle(at, born)
        self._meanings.clear()
        self._named.clear()
        self._audits.clear()
        self._more.clear()

    def samples(self, at: datetime, polled_before: datetime | None) -> Iterator[Sample]:
        """All counters, with the time at which each was zero. `polled_before`: when the poll before this one was."""
        for (name, labels), count in self._counters.items():
            yield counted(_METRICS[name], labels, count, at, self._born.get((name, labels)))
        for route, counts in self._durations.items():
            yield from self._histogram(route, counts, at)
        yield from self._subjects.samples(at, polled_before)

    def _histogram(self, route: str, counts: list[int], at: datetime) -> Iterator[Sample]:
        name, born = are.DURATION.name, self._born.get((are.DURATION.name, (route,)))
        total = 0
        for le, count in zip(_LE, counts, strict=True):
            total += count
            labels = labels_of(("route", "le"), (route, le))
            yield Sample(name=f"{name}_bucket", labels=labels, value=float(total), at=at, created=born)
        labels = labels_of(("route",), (route,))
        yield Sample(name=f"{name}_sum", labels=labels, value=self._seconds[route], at=at, created=born)
        yield Sample(name=f"{name}_count", labels=labels, value=float(total), at=at, created=born)

    def _answered(self, route: str, took: list[Any]) -> None:
        """Nanoseconds, or what stands in their place."""
        counts = self._durations.get(route)
        if counts is None:
            counts = self._durations[route] = [0] * len(_LE)
            self._seconds[route] = 0.0
        if {*map(type, took)} != {int}:
            took = [each for each in took if type(each) is int]
        took.sort()
        first, last = bisect_left(took, 0), bisect_left(took, _LONGEST)
        self._seconds[route] += sum(took[first:last]) / 1e9
        for index, bound in enumerate(_NANOSECONDS):
            upto = bisect_right(took, bound, first, last)
            counts[index] += upto - first
            first = upto

    def _audit(self, tally: Tally) -> None:
        """Since 2.177 an audit event has a line of its own, and the request's line (which follows) holds it again."""
        self._audits.update(tally.audits)
        self._audited.update((request, None) for request in tally.audited if type(request) is str)
        self._audited.pop("", None)
        for audit, request in tally.repeated:
            if request in self._audited:
                del self._audited[request]
            else:
                self._audits[audit] += 1
        if len(self._audited) > 2 * _REQUESTS_REMEMBERED:
            self._audited = dict.fromkeys([*self._audited][-_REQUESTS_REMEMBERED:])

    def _bounded(self, metric: str, labels: tuple[str, ...]) -> Key:
        if (metric, labels) in self._counters:
            return metric, labels
        held = sum(1 for name, _ in self._counters if name == metric)
        return (metric, labels) if held < _VALUES_PER_METRIC else (metric, (OTHER,) * len(labels))

    # Across restarts --------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """What `load` takes. Call it after `settle`."""
        return {
            "counters": [
                [name, [*labels], count, iso(self._born.get((name, labels)))]
                for (name, labels), count in self._counters.items()
            ],
            "durations": [
                [route, counts, self._seconds[route], iso(self._born.get((are.DURATION.name, (route,))))]
                for route, counts in self._durations.items()
            ],
            **self._subjects.to_json(),
            "audited": [*self._audited][-_REQUESTS_REMEMBERED:],
            "last_event": self.last_event,
        }

    def load(self, saved: dict[str, Any]) -> None:
        """Take over what `to_json` gave. Raises ValueError, TypeError or KeyError for anything else."""
        for name, labels, count, born in saved["counters"]:
            metric = _METRICS.get(name)
            if metric is not None and len(labels) == len(metric.labels):
                key = (name, tuple(str(label) for label in labels))
                self._counters[key], self._born[key] = int(count), time_of(born)
        for route, counts, seconds, born in saved["durations"]:
            if len(counts) == len(_LE):
                self._durations[route], self._seconds[route] = [int(count) for count in counts], float(seconds)
                self._born[are.DURATION.name, (route,)] = time_of(born)
        self._subjects.load(saved)
        self._audited = dict.fromkeys(str(request) for request in saved["audited"])
        self.last_event = float(saved["last_event"])


def _counted_as(meaning: Meaning) -> Iterator[Key]:
    """The counters that one line of this meaning raises by one."""
    yield are.LINES.name, (meaning.kind.value,)
    if meaning.kind is Kind.REQUEST:
        yield are.REQUESTS.name, (meaning.route, meaning.code)
        if meaning.error_code:
            yield are.ERRORS.name, (meaning.error_code,)
        if meaning.code == "429":
            yield are.RATE_LIMITED.name, (meaning.error_code or "none",)
    if meaning.failure:
        yield are.REFUSALS.name, (meaning.flow, meaning.failure, meaning.method or meaning.flow)
    if meaning.kind is Kind.HOOK:
        yield are.HOOK_ERRORS.name, (meaning.hook, meaning.outcome)
    if meaning.outcome:
        match meaning.flow:
            case "sign_in" | "otp":
                yield are.SIGN_INS.name, (meaning.outcome, meaning.method)
            case "mfa":
                yield are.MFA.name, (meaning.outcome,)
            case "refresh":
                yield are.REFRESHES.name, (meaning.outcome,)
            case "sign_up":
                yield are.SIGN_UPS.name, (meaning.outcome,)


@lru_cache(maxsize=1024)
def _seconds(time: str) -> Seconds:
    try:
        at = datetime.fromisoformat(time)
    except ValueError:
        return 0.0
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
