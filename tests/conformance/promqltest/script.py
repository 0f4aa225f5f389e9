"""Reads promqltest scripts: load, clear and eval commands with what they expect.

The format is described in prometheus/promql/promqltest/README.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.conformance.promqltest.notation import SeriesLine, number, seconds, series_line


@dataclass(frozen=True)
class Clear:
    """Forget all samples."""


@dataclass(frozen=True)
class Load:
    """Series, with a point every `step` seconds from 0."""

    step: float
    series: tuple[SeriesLine, ...]
    with_nhcb: bool


@dataclass(frozen=True)
class Expectation:
    """An `expect` line."""

    kind: str
    match: str = ""
    """`msg`, `regex` or empty."""
    text: str = ""


@dataclass
class Eval:
    """A query and its expected result."""

    file: str
    line: int
    expression: str
    start: float
    end: float | None = None
    """None: an instant query at `start`."""
    step: float = 0.0
    expectations: list[Expectation] = field(default_factory=list)
    series: list[SeriesLine] = field(default_factory=list)
    scalar: float | None = None

    def expects(self, kind: str) -> list[Expectation]:
        return [each for each in self.expectations if each.kind == kind]


Command = Clear | Load | Eval

_INSTANT = re.compile(r"eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(.+?))?\s+(.+)")
_RANGE = re.compile(r"eval(?:_(fail|warn|info))?\s+range\s+from\s+(.+?)\s+to\s+(.+?)\s+step\s+(.+?)\s+(.+)")
_EXPECT = re.compile(
    r"expect\s+(ordered|fail|warn|no_warn|info|no_info|string|range vector)(?:\s+(regex|msg)\s*:)?\s*(.*)"
)


def read(path: Path) -> Iterator[Command]:
    """The commands of a script. Raises ValueError with file and line."""
    raw = path.read_text("utf-8", "surrogateescape").splitlines()
    lines = ["" if line.strip().startswith("#") else line.strip() for line in raw]
    at = 0
    while at < len(lines):
        line = lines[at]
        end = at + 1
        if line:
            while end < len(lines) and lines[end] and not _starts(lines[end]):
                end += 1
            try:
                yield _command(line, lines[at + 1 : end], path.name, at + 1)
            except (ValueError, AssertionError) as error:
                raise ValueError(f"{path}:{at + 1}: {error}") from error
        at = end


def _starts(line: str) -> bool:
    return re.match(r"(eval|eval_\w+|load|load_with_nhcb|clear)\b", line) is not None


def _command(line: str, block: list[str], file: str, at: int) -> Command:
    word = line.split()[0]
    if word == "clear":
        return Clear()
    if word.startswith("load"):
        (step,) = line.split()[1:]
        return Load(seconds(step), tuple(series_line(each) for each in block), word == "load_with_nhcb")
    if match := _RANGE.fullmatch(line):
        how, start, end, step, expression = match.groups()
        command = Eval(file, at, expression, seconds(start), seconds(end), seconds(step))
    elif match := _INSTANT.fullmatch(line):
        how, start, expression = match.groups()
        command = Eval(file, at, expression, seconds(start or "0"))
    else:
        raise ValueError(f"unknown command: {line}")
    if how:
        command.expectations.append(Expectation(how))
    for each in block:
        _expected(command, each)
    return command


def _expected(command: Eval, line: str) -> None:
    if match := _EXPECT.fullmatch(line):
        command.expectations.append(Expectation(match.group(1), match.group(2) or "", match.group(3).strip()))
    elif line.startswith(("expected_fail_message", "expected_fail_regexp")):
        word, _, text = line.partition(" ")
        kind = "msg" if word.endswith("message") else "regex"
        command.expectations.append(Expectation("fail", kind, text.strip()))
    else:
        try:
            command.scalar = number(line)
        except ValueError:
            command.series.append(series_line(line))
