"""Metric groups: one `.sql` file each, which declares in its header what its columns mean.

```sql
-- group: locks                       the file's name
-- what: Locks by mode.               shown by `tocsin doctor`
-- versions: 14..16                   majors that it runs on; `17..` has no end; default: all
-- interval: 60s                      how often at most; default: every poll
-- scope: database                    asked in each database; default: once, `cluster`
-- only: standby                      or primary; default: both
-- capability: activity               what it needs the role to see (see doctor.py)
-- labels: datname, mode              columns that are labels
-- gauge pg_locks_count: Locks held.  a column that is a metric: type, name, help
-- counter a_total also a: Help.      the same value under a second name
-- gauge c without labels: Help.      a column that carries none of the labels
select …
```
Nothing else is edited to add a group. A NULL value is an absent sample; a NULL label an absent label.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any, Final

from tocsin.durations import parse_duration
from tocsin.model import Labels, Metric, MetricType, Sample, Seconds

OLDEST_VERSION: Final = 13
OUR_MARK: Final = "/* tocsin:"
"""What statements of ours hold, to be known again in pg_stat_statements."""
_KEYS: Final = frozenset({"group", "what", "versions", "interval", "scope", "only", "capability", "labels"})
_COLUMN: Final = re.compile(
    r"(?P<type>counter|gauge) (?P<name>[a-z_:][a-z0-9_:]*)(?: also (?P<also>[a-z_:][a-z0-9_:]*))?"
    r"(?P<bare> without labels)?: (?P<help>\S.*)"
)
_IDENTIFIER_LIMIT: Final = 63
"""Postgres cuts a longer column name short (NAMEDATALEN)."""


def marked(name: str, sql: str) -> str:
    """The statement with our mark at its end: a comment at its beginning is not stored."""
    return f"{sql.rstrip()}\n{OUR_MARK}{name} */"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of the answer that is a metric."""

    name: str
    type: MetricType
    help: str
    labels: tuple[str, ...]
    also: str | None = None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        names = (self.name,) if self.also is None else (self.name, self.also)
        return tuple(Metric(name=name, type=self.type, help=self.help, labels=self.labels) for name in names)


@dataclass(frozen=True, kw_only=True)
class Group:
    """One statement and what its columns mean."""

    name: str
    what: str
    sql: str
    columns: tuple[Column, ...]
    labels: tuple[str, ...] = ()
    oldest: int = OLDEST_VERSION
    newest: int | None = None
    interval: Seconds = 0.0
    per_database: bool = False
    only: str = ""
    capability: str = ""
    metrics: tuple[Metric, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", tuple(metric for column in self.columns for metric in column.metrics))

    @property
    def names(self) -> frozenset[str]:
        """The metrics that it yields."""
        return frozenset(metric.name for metric in self.metrics)

    def runs_on(self, version: int, *, in_recovery: bool) -> bool:
        """Whether a server of this major version and role is asked."""
        if version < self.oldest or (self.newest is not None and version > self.newest):
            return False
        return self.only in ("", "standby" if in_recovery else "primary")

    def samples(self, columns: Sequence[str], rows: Iterable[Sequence[Any]], at: datetime) -> Iterator[Sample]:
        """The answer as samples. Pure."""
        place = {name: index for index, name in enumerate(columns)}
        for row in rows:
            labels = Labels({name: str(row[place[name]]) for name in self.labels if row[place[name]] is not None})
            for column in self.columns:
                value = row[place[column.name]]
                if value is None:
                    continue
                carried = labels if column.labels else Labels()
                for metric in column.metrics:
                    yield Sample(name=metric.name, labels=carried, value=float(value), at=at)


def parse_group(file: str, text: str) -> Group:
    """A group from its file's text. Raises ValueError with file and line."""
    keys: dict[str, str] = {}
    found: list[tuple[int, re.Match[str]]] = []
    lines = text.splitlines()
    end = next((index for index, line in enumerate(lines) if not line.startswith("-- ")), len(lines))
    for number, line in enumerate(lines[:end], start=1):
        content = line[3:].strip()
        key, _, value = content.partition(": ")
        if key in _KEYS:
            keys[key] = value.strip()
        elif match := _COLUMN.fullmatch(content):
            found.append((number, match))
        else:
            raise ValueError(
                f"{file}:{number}: not a header line: {content!r}; write `-- gauge NAME: HELP` or one of "
                f"{', '.join(sorted(_KEYS))}"
            )
    sql = "\n".join(lines[end:]).strip()
    _check(file, keys, found, sql)
    labels = tuple(label.strip() for label in keys.get("labels", "").split(",") if label.strip())
    oldest, _, newest = keys.get("versions", f"{OLDEST_VERSION}..").partition("..")
    return Group(
        name=keys["group"],
        what=keys["what"],
        sql=marked(keys["group"], sql),
        columns=tuple(
            Column(
                name=match["name"],
                type=MetricType(match["type"]),
                help=match["help"],
                labels=() if match["bare"] else labels,
                also=match["also"],
            )
            for _, match in found
        ),
        labels=labels,
        oldest=int(oldest),
        newest=int(newest) if newest else None,
        interval=parse_duration(keys.get("interval", "0")),
        per_database=keys.get("scope", "cluster") == "database",
        only=keys.get("only", ""),
        capability=keys.get("capability", ""),
    )


def _check(file: str, keys: dict[str, str], found: list[tuple[int, re.Match[str]]], sql: str) -> None:
    for key in ("group", "what"):
        if key not in keys:
            raise ValueError(f"{file}: the header lacks `-- {key}: …`")
    if keys["group"] != file.removesuffix(".sql"):
        raise ValueError(f"{file}: the group is called {keys['group']!r}; name it as the file")
    if not found or not sql:
        raise ValueError(f"{file}: a group is at least one metric and one statement")
    if ";" in re.sub(r"--.*", "", sql):
        raise ValueError(f"{file}: one statement, without a semicolon")
    for number, match in found:
        if len(match["name"]) > _IDENTIFIER_LIMIT:
            raise ValueError(f"{file}:{number}: Postgres would cut {match['name']!r} to {_IDENTIFIER_LIMIT} characters")
        if not re.search(rf"\b{match['name']}\b", sql):
            raise ValueError(f"{file}:{number}: the statement has no column {match['name']!r}")
    for key, allowed in (("scope", ("cluster", "database")), ("only", ("primary", "standby"))):
        if keys.get(key, allowed[0]) not in allowed:
            raise ValueError(f"{file}: {key} is one of {', '.join(allowed)}")


@cache
def load_groups() -> tuple[Group, ...]:
    """Every group in `groups/`, by name. Raises ValueError where two declare one metric differently."""
    folder = resources.files(__package__).joinpath("groups")
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)
    groups = tuple(parse_group(entry.name, entry.read_text(encoding="utf-8")) for entry in files)
    declared_metrics(groups)
    return groups


def declared_metrics(groups: Iterable[Group]) -> tuple[Metric, ...]:
    """Each metric once. Two groups may declare one only alike (for different versions)."""
    known: dict[str, Metric] = {}
    for group in groups:
        for metric in group.metrics:
            if known.setdefault(metric.name, metric) != metric:
                raise ValueError(f"{group.name}.sql declares {metric.name} unlike another group")
    return tuple(known.values())


@cache
def statement(name: str) -> str:
    """The text of `queries/<name>.sql`: statements whose rows are worked on in Python."""
    text = resources.files(__package__).joinpath("queries", f"{name}.sql").read_text(encoding="utf-8")
    return marked(name, text)
