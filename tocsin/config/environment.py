"""The environment over the file: every key may be set as TOCSIN_SECTION__KEY.

    TOCSIN_WEB__LISTEN=0.0.0.0:9475               web.listen
    TOCSIN_NOTIFIERS__SLACK_PAGES__CHANNEL=C0456  of the notifier named slack-pages; its number (0) works too
    TOCSIN_RULES='[alert_rules/*.yaml]'           a list or mapping in YAML's flow style

Names are compared without case, and `-` and `.` of an entry's name are written `_`. A variable that is set to nothing
counts as not set. One that looks like a key and is none is an error, like an unknown key in the file; a variable
without `__` that isn't a section's name is somebody else's and is left alone, unless it is nearly one (a warning).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final

from tocsin.config.annotations import alternatives, keys_of
from tocsin.config.annotations import below as annotation_below
from tocsin.config.document import Document, KeyPath, line_of, parse_value
from tocsin.errors import Finding

PREFIX: Final = "TOCSIN_"
OWN_VARIABLES: Final = frozenset({"TOCSIN_TOKEN", "TOCSIN_URL", "TOCSIN_CONFIG", "TOCSIN_DEBUG"})
"""Read by the command line, not keys of the configuration."""


@dataclass(kw_only=True)
class Layers:
    """The file's tree with the environment's values over it, and which variable each of those came from."""

    file: str
    data: dict[str, Any]
    lines: dict[KeyPath, int] = field(default_factory=dict)
    variables: dict[KeyPath, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)

    @property
    def places(self) -> Places:
        return Places(file=self.file, lines=self.lines, variables=self.variables)


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where each key was set; holds no values, so it may live as long as the configuration."""

    file: str
    lines: Mapping[KeyPath, int] = field(default_factory=dict, repr=False)
    variables: Mapping[KeyPath, str] = field(default_factory=dict)

    def variable(self, path: KeyPath) -> str | None:
        """The variable that set `path`, or what it is part of."""
        return next(
            (self.variables[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self.variables), None
        )

    def finding(self, path: KeyPath, what: str, mend: str = "") -> Finding:
        """A finding about `path`, at its line or variable."""
        if variable := self.variable(path):
            return Finding(file=variable, line=0, what=what, mend=mend)
        return Finding(file=self.file, line=line_of(self.lines, path), what=what, mend=mend)


def overlay(document: Document, environ: Mapping[str, str], root: Any) -> Layers:
    """`document` with the settings of `environ` over it; `root` is the annotation of the whole."""
    layers = Layers(file=document.file, data=deepcopy(document.data), lines=dict(document.lines))
    named = [name for name in environ if name.upper().startswith(PREFIX) and environ[name] != ""]
    # A section before its keys, so that TOCSIN_WEB__LISTEN adds to what TOCSIN_WEB gives.
    for name in sorted(named, key=lambda name: (name.count("__"), name)):
        if name.upper() not in OWN_VARIABLES:
            _apply(layers, name, environ[name], root)
    return layers


def _apply(layers: Layers, variable: str, text: str, root: Any) -> None:
    segments = variable[len(PREFIX) :].lower().split("__")
    sections = keys_of(root)
    if segments[0] not in sections:
        _unknown_section(layers, variable, segments, sections)
        return
    try:
        value = parse_value(text) if text.lstrip()[:1] in ("[", "{") else text
    except ValueError as error:
        # The text isn't quoted: it may hold a secret.
        mend = "write a list like [a, b] and a mapping like {key: value}"
        layers.findings.append(Finding(file=variable, line=0, what=str(error), mend=mend))
        return
    if isinstance(why := _set(layers, segments, value, root), str):
        layers.findings.append(Finding(file=variable, line=0, what=why, mend="see `tocsin check --example`"))
    else:
        layers.variables[why] = variable


def _set(layers: Layers, segments: list[str], value: Any, root: Any) -> KeyPath | str:
    """Put `value` at `segments` → its key path, or why it has no place."""
    at: Any = layers.data
    path: KeyPath = ()
    annotation = root
    for number, segment in enumerate(segments):
        key = _key(at, segment, annotation)
        if key is None:
            names = ", ".join(_entry_names(at)) or "none"
            return f"no entry of {path[-1]} is called or numbered '{segment}'; there are: {names}"
        path = (*path, key)
        annotation = annotation_below(annotation, key)
        if number == len(segments) - 1:
            at[key] = value
            break
        below = at[key] if isinstance(key, int) else at.get(key)
        if not isinstance(below, (dict, list)):
            if below is not None:
                return f"{'.'.join(map(str, path))} is a value and has no keys below it"
            below = [] if _is_list(annotation) else {}
            at[key] = below
        at = below
    return path


def _key(at: Any, segment: str, annotation: Any) -> str | int | None:
    """How `segment` is written in `at`: an entry's index, or a key's own spelling."""
    if isinstance(at, list):
        if segment.isdecimal():
            return int(segment) if int(segment) < len(at) else None
        names = [_plain(name) for name in _entry_names(at)]
        return names.index(segment) if segment in names else None
    spellings = [*at, *keys_of(annotation)]
    return next((key for key in spellings if _plain(key) == _plain(segment)), segment)


def _entry_names(at: Any) -> list[str]:
    return [str(entry.get("name", "")) if isinstance(entry, dict) else "" for entry in at]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", str(name).lower())


def _is_list(annotation: Any) -> bool:
    return any(getattr(kind, "__origin__", kind) in (tuple, list) for kind in alternatives(annotation))


def variable_of(path: KeyPath, data: Any) -> str:
    """The variable that sets `path`: TOCSIN_NOTIFIERS__SLACK_PAGES__TOKEN; entries go by their names."""
    segments: list[str] = []
    for key in path:
        data = data[key]
        name = data.get("name") if isinstance(key, int) and isinstance(data, dict) else None
        segments.append(_plain(name if isinstance(name, str) else str(key)))
    return f"{PREFIX}{'__'.join(segments)}".upper()


def _unknown_section(layers: Layers, variable: str, segments: list[str], sections: tuple[str, ...]) -> None:
    near = get_close_matches(segments[0], sections, n=1, cutoff=0.6 if len(segments) > 1 else 0.85)
    mend = "unset it" + (f", or write {PREFIX}{'__'.join([near[0], *segments[1:]]).upper()}" if near else "")
    if len(segments) > 1:
        what = f"no section '{segments[0]}' in the configuration"
        layers.findings.append(Finding(file=variable, line=0, what=what, mend=mend))
    elif near:
        what = "is no key of the configuration, and is ignored"
        layers.warnings.append(Finding(file=variable, line=0, what=what, mend=mend))
