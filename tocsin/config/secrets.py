"""Secrets: from the environment or from a file, never in clear in config.yaml, never shown.

Beside each key that holds a secret there are two more: `token_env` names an environment variable, `token_file` a file.
Where a plug-in's settings declare those two themselves, it reads them itself, at use; here they are only looked at. For
the other secrets they are read once, here. What is not there does not stop `tocsin check`, which warns about it; the
daemon refuses to start without it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tocsin.config.annotations import below, is_secret, keys_of
from tocsin.config.document import KeyPath
from tocsin.config.environment import Layers, variable_of
from tocsin.errors import Finding

MAX_BYTES: Final = 64 << 10
PLACEHOLDER: Final = "secret-is-not-set"
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DATABASES: Final = frozenset({"postgres", "postgresql", "sqlite"})
_KEYWORD_DSN: Final = re.compile(r"\b(host|hostaddr|dbname|service|user)\s*=")
_LOOKS_SECRET: Final = (
    (re.compile(r"^[a-z][a-z0-9+.-]*://[^\s/@:]*:[^\s/@]+@"), "an address with a password in it"),
    (re.compile(r"\bpassword\s*=\s*\S"), "a connection string with a password in it"),
    (re.compile(r"\bxox[a-z]-[A-Za-z0-9-]{8,}|\bxapp-[A-Za-z0-9-]{8,}"), "a Slack token"),
    (re.compile(r"hooks\.slack\.com/(services|workflows)/\w"), "a Slack webhook's address, which is a secret"),
    (re.compile(r"\bsb_secret_\w|\bsbp_\w{8,}"), "a Supabase secret key"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]+\."), "a token (JWT)"),
)


@dataclass(kw_only=True)
class Secrets:
    """What became of the secrets of a configuration."""

    findings: list[Finding] = field(default_factory=list)
    missing: list[tuple[KeyPath, Finding]] = field(default_factory=list)
    """Key path, and what is not there."""
    placeholders: set[KeyPath] = field(default_factory=set)
    """Where a stand-in is: what a validator says about it means nothing."""
    values: set[str] = field(default_factory=set)
    """Every secret's text, to be kept out of messages."""

    def hidden(self, text: str) -> str:
        """`text` without any of the secrets."""
        for value in sorted(self.values, key=len, reverse=True):
            text = text.replace(value, "***") if len(value) >= 4 else text
        return text


def resolve(
    layers: Layers, types: Mapping[KeyPath, Any], *, environ: Mapping[str, str], folder: Path, inline: bool
) -> Secrets:
    """Replace `*_env` and `*_file` in `layers` by what they name; refuse secrets in clear unless `inline`.

    `types` says what stands at () and, for each plug-in's entry, what its settings are. Relative files are relative to
    `folder`.
    """
    resolver = _Resolver(layers, types, environ, folder, inline)
    resolver.walk(layers.data, None, ())
    return resolver.secrets


class _Resolver:
    def __init__(
        self, layers: Layers, types: Mapping[KeyPath, Any], environ: Mapping[str, str], folder: Path, inline: bool
    ) -> None:
        self.secrets = Secrets()
        self._layers = layers
        self._types = types
        self._environ = environ
        self._folder = folder
        self._inline = inline
        self._read: set[KeyPath] = set()

    def walk(self, value: Any, annotation: Any, path: KeyPath) -> None:
        annotation = self._types.get(path, annotation)
        if isinstance(value, dict):
            for key in [key for key in value if key.endswith(("_env", "_file"))]:
                self._reference(value, key, annotation, path)
            for key, item in value.items():
                self.walk(item, below(annotation, key), (*path, key))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self.walk(item, below(annotation, index), (*path, index))
        elif isinstance(value, str) and path not in self._read:
            self._look_at(value, is_secret(annotation), path)

    def _look_at(self, value: str, secret: bool, path: KeyPath) -> None:
        """Refuse a secret in clear in the file; one that came from the environment is where it belongs."""
        what = next((what for form, what in _LOOKS_SECRET if form.search(value)), "")
        if not what and secret and not _is_plain_dsn(value):
            what = "a secret in clear"
        if secret or what:
            self.secrets.values.add(value)
        if what and not self._inline and self._layers.places.variable(path) is None:
            key = path[-1]
            mend = f"set {variable_of(path, self._layers.data)} instead"
            if secret and isinstance(key, str):
                mend = f"write {key}_env: VARIABLE or {key}_file: PATH"
            self._find(path, f"{what} at '{_last(path)}'", f"{mend}, or allow it with allow_inline_secrets: true")

    def _reference(self, mapping: dict[str, Any], key: str, annotation: Any, path: KeyPath) -> None:
        base, _, suffix = key.rpartition("_")
        known = keys_of(annotation)
        names = mapping[key]
        if key in known:  # the plug-in reads it itself, at use
            if suffix == "env":
                for name in names.values() if isinstance(names, dict) else [names]:
                    self._variable(name, (*path, key))
            elif f"{base}_env" in known or is_secret(below(annotation, base)):
                self._file(names, (*path, key))
            return
        if not is_secret(below(annotation, base)):
            return
        del mapping[key]
        self._move((*path, key), (*path, base))
        if base in mapping:
            self._find((*path, base), f"'{base}' is given twice", f"keep one of {base}, {base}_env and {base}_file")
            return
        secret = self._variable(names, (*path, key)) if suffix == "env" else self._file(names, (*path, key))
        if secret is None:
            self.secrets.placeholders.add((*path, base))
        else:
            self.secrets.values.add(secret)
        mapping[base] = PLACEHOLDER if secret is None else secret
        self._read.add((*path, base))

    def _move(self, old: KeyPath, new: KeyPath) -> None:
        """What is found at `new` later was written at `old`."""
        if old in self._layers.variables:
            self._layers.variables[new] = self._layers.variables[old]
        elif new not in self._layers.lines and old in self._layers.lines:
            self._layers.lines[new] = self._layers.lines[old]

    def _variable(self, name: Any, path: KeyPath) -> str | None:
        """The text in the environment variable `name`; None, and noted, when there is none."""
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            # Not quoted: somebody may have put the secret itself here.
            self._find(path, f"'{_last(path)}' wants the name of an environment variable", "such as SLACK_BOT_TOKEN")
            return None
        if text := self._environ.get(name, ""):
            return text
        why = "is empty" if name in self._environ else "is not set"
        self._miss(path, f"the environment variable {name} {why}", f"export {name}=…, or use {_last(path)[:-4]}_file")
        return None

    def _file(self, name: Any, path: KeyPath) -> str | None:
        """The text in the file `name`, less the line's end; None, and noted, when there is none."""
        if not isinstance(name, (str, Path)):
            self._find(path, f"'{_last(path)}' wants the path of a file", "such as /run/secrets/slack_bot_token")
            return None
        file = self._folder / name
        try:
            with file.open("rb") as opened:
                raw = opened.read(MAX_BYTES + 1)
            text = raw.decode("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            self._miss(path, f"can't read the secret in {file}: {why}", "check the path and who may read it")
            return None
        if not text or len(raw) > MAX_BYTES:
            self._miss(path, f"{file} {'holds too much for a secret' if text else 'is empty'}", "put the secret there")
            return None
        return text

    def _find(self, path: KeyPath, what: str, mend: str) -> None:
        self.secrets.findings.append(self._layers.places.finding(path, what, mend))

    def _miss(self, path: KeyPath, what: str, mend: str) -> None:
        self.secrets.missing.append((path, self._layers.places.finding(path, what, mend)))


def _is_plain_dsn(value: str) -> bool:
    """A database's address without a password: harmless, and what most people write for SQLite."""
    scheme = value.partition("://")[0].partition("+")[0]
    return scheme in _DATABASES if "://" in value else _KEYWORD_DSN.search(value) is not None


def _last(path: KeyPath) -> str:
    return str(next((key for key in reversed(path) if isinstance(key, str)), ""))
