"""Reads unit-test files in promtool's format, strictly, with every finding at once."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import yaml

from tocsin.durations import format_duration
from tocsin.errors import Finding, RuleError
from tocsin.model import Labels, Seconds, utc
from tocsin.promql.native import Histogram
from tocsin.promql.native.stored import as_stored

from ..document import Document, Entry, is_null, line_of, read
from .cases import AlertCase, ExpectedSample, ExprCase, InputSeries, UnitTest, UnitTestFile
from .notation import BadNotation, parse_histogram, parse_series, parse_values

_FILE_KEYS: Final = ("rule_files", "evaluation_interval", "group_eval_order", "tests", "fuzzy_compare")
_TEST_KEYS: Final = (
    "interval", "input_series", "alert_rule_test", "promql_expr_test", "external_labels", "external_url", "name",
    "start_timestamp",
)  # fmt: skip
_FRACTION: Final = re.compile(r"\.(\d+)")


def read_unit_tests(path: Path) -> UnitTestFile:
    """The tests of one file. Raises RuleError with every finding."""
    findings: list[Finding] = []
    source = read(path, findings)
    document = Document(str(path), source or "", findings)
    parsed = _FileReader(document, path.parent).file()
    if findings:
        raise RuleError(*findings)
    return parsed


@dataclass
class _FileReader:
    document: Document
    folder: Path

    def file(self) -> UnitTestFile:
        document = self.document
        root = document.root()
        keys = document.mapping(root, "the file", _FILE_KEYS) if root is not None else {}
        interval = (
            document.duration(keys["evaluation_interval"].value, "evaluation_interval")
            if ("evaluation_interval" in keys)
            else 0.0
        )
        interval = interval or 60.0
        files, missing = self._rule_files(keys.get("rule_files"))
        tests = document.items(keys["tests"].value, "tests") if "tests" in keys else []
        return UnitTestFile(
            file=document.file,
            rule_files=files,
            missing=missing,
            interval=interval,
            order=self._order(keys.get("group_eval_order")),
            fuzzy=document.truth(keys["fuzzy_compare"].value, "fuzzy_compare") if "fuzzy_compare" in keys else False,
            tests=tuple(_TestReader(document, node, number, interval).test() for number, node in enumerate(tests)),
        )

    def _rule_files(self, entry: Entry | None) -> tuple[tuple[Path, ...], tuple[str, ...]]:
        files: list[Path] = []
        missing: list[str] = []
        for node in self.document.items(entry.value, "rule_files") if entry else ():
            pattern = self.document.text(node, "rule_files")
            if not pattern:
                continue
            found = sorted(glob.glob(str(self.folder / pattern)))  # noqa: PTH207 - the pattern may be absolute
            files += [Path(name) for name in found]
            if not found:
                missing.append(pattern)
        return tuple(dict.fromkeys(files)), tuple(missing)

    def _order(self, entry: Entry | None) -> tuple[str, ...]:
        names: list[str] = []
        for node in self.document.items(entry.value, "group_eval_order") if entry else ():
            name = self.document.text(node, "group_eval_order") or ""
            if name in names:
                self.document.find(node, f"the group {name!r} is named twice in group_eval_order", "remove one")
            names.append(name)
        return tuple(names)


@dataclass
class _TestReader:
    """Reads one item of `tests`."""

    document: Document
    node: yaml.Node
    number: int
    default_interval: Seconds

    def test(self) -> UnitTest:
        document, keys = self.document, self.document.mapping(self.node, "the test", _TEST_KEYS)
        interval = document.duration(keys["interval"].value, "interval") if "interval" in keys else 0.0
        name = (document.text(keys["name"].value, "name") or "") if "name" in keys else ""
        url = (document.text(keys["external_url"].value, "external_url") or "") if "external_url" in keys else ""
        return UnitTest(
            name=name or f"unnamed#{self.number}",
            line=line_of(self.node),
            interval=interval or self.default_interval,
            series=tuple(self._series(keys)),
            alerts=tuple(self._alerts(keys)),
            expressions=tuple(self._expressions(keys)),
            external_labels=self._labels(keys.get("external_labels"), "external_labels"),
            external_url=url,
            start=self._start(keys.get("start_timestamp")),
        )

    def _items(
        self, keys: dict[str, Entry], name: str, known: tuple[str, ...]
    ) -> Iterator[tuple[yaml.Node, dict[str, Entry]]]:
        for node in self.document.items(keys[name].value, name) if name in keys else ():
            if not is_null(node):
                yield node, self.document.mapping(node, f"an item of {name}", known)

    def _text(self, keys: dict[str, Entry], name: str) -> str:
        return (self.document.text(keys[name].value, name) or "") if name in keys else ""

    def _time(self, keys: dict[str, Entry]) -> Seconds:
        return self.document.duration(keys["eval_time"].value, "eval_time") if "eval_time" in keys else 0.0

    def _labels(self, entry: Entry | None, what: str) -> Labels:
        if entry is None:
            return Labels()
        return Labels({name: text for name, (text, _) in self.document.texts(entry.value, what).items()})

    def _start(self, entry: Entry | None) -> datetime:
        if entry is None:
            return utc(0)
        text = self.document.text(entry.value, "start_timestamp") or "0"
        try:
            return _timestamp(text)
        except (ValueError, OverflowError):
            what = f"start_timestamp {text!r} is no time"
            self.document.find(entry.value, what, "write 2024-01-01T00:00:00Z, or Unix seconds")
            return utc(0)

    def _series(self, keys: dict[str, Entry]) -> Iterator[InputSeries]:
        for node, item in self._items(keys, "input_series", ("series", "values")):
            at = item["series"].value if "series" in item else node
            values: list[float | Histogram | None] = []
            try:
                labels = parse_series(self._text(item, "series"))
                at = item["values"].value if "values" in item else node
                values = parse_values(self._text(item, "values"))
            except BadNotation as bad:
                self.document.find(at, str(bad))
                continue
            histogram = any(isinstance(value, Histogram) for value in values)
            yield InputSeries(
                labels=labels, values=tuple(as_stored(values) if histogram else values), histogram=histogram
            )

    def _alerts(self, keys: dict[str, Entry]) -> Iterator[AlertCase]:
        for node, item in self._items(keys, "alert_rule_test", ("eval_time", "alertname", "exp_alerts")):
            at, alertname = self._time(item), self._text(item, "alertname")
            if not alertname:
                self.document.find(node, f"the item of alert_rule_test at {format_duration(at)} needs an alertname")
            expected = []
            for _, alert in self._items(item, "exp_alerts", ("exp_labels", "exp_annotations")):
                labels = self._labels(alert.get("exp_labels"), "exp_labels").with_(alertname=alertname)
                expected.append((labels, self._labels(alert.get("exp_annotations"), "exp_annotations")))
            yield AlertCase(at=at, alertname=alertname, expected=tuple(expected), line=line_of(node))

    def _expressions(self, keys: dict[str, Entry]) -> Iterator[ExprCase]:
        for node, item in self._items(keys, "promql_expr_test", ("expr", "eval_time", "exp_samples")):
            yield ExprCase(
                at=self._time(item),
                expr=self._text(item, "expr"),
                expected=tuple(self._samples(item)),
                line=line_of(node),
            )

    def _samples(self, keys: dict[str, Entry]) -> Iterator[ExpectedSample]:
        for node, item in self._items(keys, "exp_samples", ("labels", "value", "histogram")):
            at = item["labels"].value if "labels" in item else node
            value: float | Histogram = 0.0
            try:
                labels = parse_series(self._text(item, "labels"))
                if "value" in item:
                    value = self.document.number(item["value"].value, "value")
                if text := self._text(item, "histogram"):
                    at = item["histogram"].value
                    value = parse_histogram(text)
            except BadNotation as bad:
                self.document.find(at, str(bad))
                continue
            yield ExpectedSample(labels=labels, value=value)


def _timestamp(text: str) -> datetime:
    """RFC 3339 or Unix seconds. Raises ValueError."""
    try:
        seconds = float(text)
    except ValueError:
        # Python reads at most six digits of a fraction.
        at = datetime.fromisoformat(_FRACTION.sub(lambda found: f".{found[1][:6]}", text))
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    return utc(0) + timedelta(milliseconds=round(seconds * 1000))
