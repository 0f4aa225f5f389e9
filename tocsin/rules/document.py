"""YAML that knows its lines: reads a strict mapping and remembers what is wrong with it, all of it, before giving up.

Aliases and merge keys (`<<: *other`) work as in Prometheus. A scalar is taken as it is written: `expr: 1` is the text
`1`, `for: 5m` the text `5m`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import yaml

from tocsin.durations import parse_duration
from tocsin.errors import Finding
from tocsin.model import Seconds

_NULL: Final = "tag:yaml.org,2002:null"
_MERGE: Final = "tag:yaml.org,2002:merge"
_MAX_MERGES: Final = 32


@dataclass(frozen=True, slots=True)
class Entry:
    """One `key: value` of a mapping."""

    key: yaml.Node
    value: yaml.Node
    merged: bool = False
    """It came by a merge key: one of the same name that is written out wins."""


@dataclass
class Document:
    """One file being read. `findings` grows; whoever reads goes on with what is still usable."""

    file: str
    source: str
    findings: list[Finding] = field(default_factory=list)
    ignore_unknown: bool = False

    # What is wrong -------------------------------------------------------------------------------------------------

    def find(self, at: yaml.Node | int, what: str, mend: str = "") -> None:
        """Remember a finding at a node or line."""
        line = at if isinstance(at, int) else line_of(at)
        self.findings.append(Finding(file=self.file, line=line, what=what, mend=mend))

    def _wrong(self, node: yaml.Node, wanted: str, key: str) -> None:
        shown = "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
        if isinstance(node, yaml.ScalarNode):
            shown = repr(str(node.value)[:60])
        self.find(node, f"{key} must be {wanted}, not {shown}")

    # The whole -----------------------------------------------------------------------------------------------------

    def root(self) -> yaml.Node | None:
        """The root of the first document; None where the file is empty or can't be parsed."""
        loader = yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader
        try:
            documents = yaml.compose_all(self.source, Loader=loader)
            root = next(documents, None)
            second = next(documents, None)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            context = f" ({error.context})" if error.context else ""
            self.find(mark.line + 1 if mark else 0, f"not valid YAML: {error.problem}{context}")
            return None
        except yaml.reader.ReaderError as error:
            line = self.source.count("\n", 0, error.position) + 1
            self.find(line, f"not valid YAML: {error.reason} (character {error.character!r})")
            return None
        except RecursionError:
            self.find(0, "nested too deeply")
            return None
        if second is not None:
            self.find(second, "a second YAML document, which Prometheus ignores", "put its content into the first")
        return root if root is not None and not is_null(root) else None

    # Parts ---------------------------------------------------------------------------------------------------------

    def mapping(self, node: yaml.Node, what: str, known: Collection[str]) -> dict[str, Entry]:
        """The entries by key. Unknown and repeated keys are findings."""
        entries: dict[str, Entry] = {}
        for entry in self._pairs(node, what):
            name = self.text(entry.key, f"a key of {what}")
            if name is None:
                continue
            if name not in known:
                if not self.ignore_unknown:
                    self.find(entry.key, f"unknown key {name!r} in {what}", _nearest(name, known))
            elif (there := entries.get(name)) is None or there.merged:
                entries[name] = entry
            elif not entry.merged:
                self.find(entry.key, f"{name!r} is given twice in {what}", f"first on line {line_of(there.key)}")
        return entries

    def texts(self, node: yaml.Node, what: str) -> dict[str, tuple[str, Entry]]:
        """A mapping of texts, such as labels: name → (text, entry)."""
        out: dict[str, tuple[str, Entry]] = {}
        for entry in self._pairs(node, what):
            name, text = self.text(entry.key, f"a key of {what}"), self.text(entry.value, f"a value of {what}")
            if name is None or text is None:
                continue
            if name in out and not out[name][1].merged:
                if not entry.merged:
                    first = line_of(out[name][1].key)
                    self.find(entry.key, f"{name!r} is given twice in {what}", f"first on line {first}")
                continue
            out[name] = (text, entry)
        return out

    def items(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        """The items of a list; null is the empty list."""
        if is_null(node):
            return []
        if not isinstance(node, yaml.SequenceNode):
            self._wrong(node, "a list", what)
            return []
        return list(node.value)

    def text(self, node: yaml.Node, what: str) -> str | None:
        """A scalar as it is written; null is the empty text."""
        if not isinstance(node, yaml.ScalarNode):
            self._wrong(node, "a text", what)
            return None
        return "" if is_null(node) else str(node.value)

    def duration(self, node: yaml.Node, what: str) -> Seconds:
        """Seconds; 0 where it can't be read."""
        text = self.text(node, what)
        try:
            return parse_duration(text) if text else 0.0
        except ValueError as error:
            self.find(node, f"{what}: {error}")
            return 0.0

    def integer(self, node: yaml.Node, what: str) -> int:
        """A whole number; 0 where it can't be read."""
        text = self.text(node, what) or "0"
        try:
            return int(text)
        except ValueError:
            self._wrong(node, "a whole number", what)
            return 0

    def number(self, node: yaml.Node, what: str) -> float:
        """A number; 0 where it can't be read."""
        text = (self.text(node, what) or "0").strip()
        try:
            return float({".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}.get(text.lower(), text))
        except ValueError:
            self._wrong(node, "a number", what)
            return 0.0

    def truth(self, node: yaml.Node, what: str) -> bool:
        """true or false."""
        text = self.text(node, what) or "false"
        if text.lower() not in ("true", "false"):
            self._wrong(node, "true or false", what)
        return text.lower() == "true"

    def _pairs(self, node: yaml.Node, what: str, merged: bool = False, depth: int = 0) -> Iterator[Entry]:
        if is_null(node):
            return
        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, "a mapping", what)
            return
        for key, value in node.value:
            if key.tag != _MERGE:
                yield Entry(key, value, merged)
                continue
            if depth >= _MAX_MERGES:
                self.find(key, f"merge keys of {what} nest without end")
                return
            for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                yield from self._pairs(source, what, True, depth + 1)

    def place(self, node: yaml.Node, offset: int) -> tuple[int, int]:
        """(line, column) of a character of a scalar's text, both from 1; column 0 where YAML's folding hides it."""
        assert isinstance(node, yaml.ScalarNode)
        start = node.start_mark
        if node.style == "|":
            before = node.value[:offset]
            line = start.line + 1 + before.count("\n") + 1
            lines = self.source.splitlines()
            written = lines[line - 1] if line <= len(lines) else ""
            shown = node.value.split("\n")[before.count("\n")]
            indent = max(written.find(shown), 0) if shown else 0
            return line, indent + offset - (before.rfind("\n") + 1) + 1
        if start.line == node.end_mark.line and node.style != ">" and "\\" not in node.value:
            return start.line + 1, start.column + 1 + (1 if node.style in ("'", '"') else 0) + offset
        return start.line + 1, 0


def read(path: Path, findings: list[Finding]) -> str | None:
    """The text of a file; None and a finding where it can't be had."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        findings.append(Finding(file=str(path), line=0, what=f"not UTF-8 text: {error.reason} at byte {error.start}"))
    except OSError as error:
        findings.append(Finding(file=str(path), line=0, what=f"can't be read: {error.strerror or error}"))
    return None


def line_of(node: yaml.Node) -> int:
    """The node's line, from 1."""
    return int(node.start_mark.line) + 1


def is_null(node: yaml.Node) -> bool:
    """True for null, `~` and nothing at all."""
    return bool(node.tag == _NULL)


def _nearest(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"
