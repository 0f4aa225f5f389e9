"""Reads a YAML file together with the line of every key, so that an error can say FILE:LINE.

The values are YAML 1.2's: `on`, `yes` and `10:30` are text, not a boolean and 630 as in YAML 1.1; anchors and `<<`
merges work. A key given twice is an error, where most readers let the last one win in silence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from tocsin.errors import ConfigError, Finding

KeyPath = tuple[str | int, ...]
"""Where a value is: ("notifiers", 0, "channel")."""

MAX_BYTES: Final = 1 << 20
MAX_VALUES: Final = 100_000
"""Values after aliases are followed: a few lines of nested aliases can stand for billions."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """A file's content and where each part of it stands."""

    file: str
    data: dict[str, Any]
    lines: Mapping[KeyPath, int] = field(default_factory=dict)


def line_of(lines: Mapping[KeyPath, int], path: KeyPath) -> int:
    """The line of `path`, or of the nearest thing around it that the file has; 0 where there is none."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 0)


def read_document(path: Path) -> Document:
    """The mapping in the file at `path`; of an empty file, an empty one.

    Raises ConfigError with every finding: unreadable, not YAML, not a mapping, keys given twice.
    """
    return parse_document(_read(path), str(path))


def parse_document(text: str, file: str) -> Document:
    """The mapping that `text` holds; `file` is what findings call it. Raises ConfigError."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_syntax(file, error)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"a character that YAML does not allow: U+{error.character:04X}"
        raise ConfigError.at(file, line, what, "remove it") from None
    except RecursionError:
        raise ConfigError.at(file, 0, "nested too deeply", "flatten it") from None
    if node is None:
        return Document(file=file, data={})
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError.at(
            file, node.start_mark.line + 1, "a mapping is wanted at the top", "write it as `section: …` lines"
        )
    reader = _Reader(file)
    data = reader.value(node, ())
    if reader.findings:
        raise ConfigError(*sorted(reader.findings, key=lambda finding: finding.line))
    return Document(file=file, data=data, lines=reader.lines)


def parse_value(text: str) -> Any:
    """A list or mapping in YAML's flow style, such as `[a, b]`. Raises ValueError with the reason."""
    try:
        return parse_document(f"value: {text}", "").data["value"]
    except ConfigError as error:
        raise ValueError(error.findings[0].what) from None


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError.at(
            path,
            0,
            "no such file",
            "start from the commented example: tocsin check --example > config.yaml; or name yours with --config FILE",
        ) from None
    except OSError as error:
        raise ConfigError.at(path, 0, f"can't be read: {error.strerror or error}", "check its path and mode") from None
    if len(raw) > MAX_BYTES:
        raise ConfigError.at(path, 0, f"larger than {MAX_BYTES >> 20} MiB", "this is not a configuration")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError.at(path, line, "not UTF-8", "save the file as UTF-8") from None


def _syntax(file: str, error: yaml.MarkedYAMLError) -> Finding:
    mark = error.problem_mark or error.context_mark
    problem = error.problem or "the syntax is broken"
    mend = "check the indentation, the colons and the quotes of this line and the one above"
    if "\\t" in problem:
        mend = "indent with spaces, not with tabs"
    elif "expected a single document" in f"{error.context}":
        problem, mend = "a second document begins here", "keep one: remove the `---`"
    elif "undefined alias" in problem:
        mend = "quote a value that begins with *, or define the anchor above"
    elif "mapping values are not allowed" in problem:
        mend = "quote a value that holds a colon; check the indentation"
    return Finding(file=file, line=(mark.line if mark else 0) + 1, what=f"not valid YAML: {problem}", mend=mend)


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (as PyYAML declares it)


for _tag, _form, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    # A leading zero makes text, so that an identifier such as 0123 stays what was written.
    ("int", r"[-+]?(0|[1-9][0-9]{0,17})", list("-+0123456789")),
    ("float", r"[-+]?(0|[1-9][0-9]*)?\.[0-9]+([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_form})$"), _first)


class _Reader:
    """Turns nodes into values, and notes lines and findings on the way."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.lines: dict[KeyPath, int] = {}
        self.findings: list[Finding] = []
        self._count = 0
        self._open: set[int] = set()

    def value(self, node: yaml.Node, path: KeyPath) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        self._count += 1
        if self._count > MAX_VALUES or id(node) in self._open:
            what = "an alias that contains itself" if id(node) in self._open else f"more than {MAX_VALUES} values"
            raise ConfigError.at(self.file, node.start_mark.line + 1, what, "write the values out")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
            return self._scalar(node)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merges: list[yaml.Node] = []
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == "tag:yaml.org,2002:merge":
                merges.append(value_node)
                continue
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                self._find(line, "a key must be plain text", "quote it, or check for a stray `?`, `[` or `{`")
            elif key in own:
                first = self.lines[(*path, key)]
                self._find(line, f"the key '{key}' is given twice, first on line {first}", "keep one of them")
            else:
                self.lines.setdefault((*path, key), line)
                own[key] = self.value(value_node, (*path, key))
        # Merges come last, so that the lines of what is written here win as its values do.
        for merge in merges:
            own = {**self._merge(merge, path), **own}
        return own

    def _merge(self, node: yaml.Node, path: KeyPath) -> dict[str, Any]:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for part in parts:
            if not isinstance(part, yaml.MappingNode):
                self._find(part.start_mark.line + 1, "`<<` wants a mapping", "merge an alias such as *defaults")
                continue
            merged = {**self.value(part, path), **merged}
        return merged

    def _scalar(self, node: yaml.Node) -> Any:
        text: str = node.value
        match node.tag.rpartition(":")[2]:
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return int(text)
            case "float":
                return float(text)
            case "str":
                return text
        self._find(node.start_mark.line + 1, f"the tag {node.tag} is not known here", "write a plain value")
        return None

    def _find(self, line: int, what: str, mend: str) -> None:
        self.findings.append(Finding(file=self.file, line=line, what=what, mend=mend))
