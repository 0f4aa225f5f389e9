"""Reads config.yaml: file, environment, secrets, plug-ins' settings, cross checks; all findings at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from tocsin.config.crosschecks import CHECKS, Problem
from tocsin.config.document import KeyPath, read_document
from tocsin.config.environment import OWN_VARIABLES, Layers, overlay
from tocsin.config.schema import Config
from tocsin.config.secrets import Secrets, resolve
from tocsin.config.wording import findings_of, title
from tocsin.errors import ConfigError, Finding
from tocsin.ports import CollectorSpec, NotifierSpec
from tocsin.runtime import plugins
from tocsin.runtime.plugins import Catalogue, PluginError

__all__ = ["OWN_VARIABLES", "load_config"]

_TRUE: Final = frozenset({"true", "1", "yes", "on"})


def load_config(
    path: Path,
    environ: Mapping[str, str],
    *,
    allow_missing_secrets: bool = False,
    collectors: Catalogue[CollectorSpec] | None = None,
    notifiers: Catalogue[NotifierSpec] | None = None,
) -> Config:
    """The configuration in the file at `path`, with `environ` over it.

    Reads that file and the secret files it names, and nothing else. With `allow_missing_secrets` a secret that is not
    there is left to `Config.missing_secrets`, and an entry that can't be had without it is left out.
    Raises ConfigError with every finding, in the order of their lines.
    """
    return _Loading(
        path,
        environ,
        collectors=plugins.collectors() if collectors is None else collectors,
        notifiers=plugins.notifiers() if notifiers is None else notifiers,
    ).config(allow_missing_secrets=allow_missing_secrets)


class _Loading:
    """One reading of the file, and what was found on the way."""

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        *,
        collectors: Catalogue[CollectorSpec],
        notifiers: Catalogue[NotifierSpec],
    ) -> None:
        self._path = path
        self._environ = environ
        self._catalogues: dict[str, Catalogue[Any]] = {"collectors": collectors, "notifiers": notifiers}
        self._layers: Layers = overlay(read_document(path), environ, Config)
        self._findings: list[Finding] = [*self._layers.findings]
        self._secrets = Secrets()

    def config(self, *, allow_missing_secrets: bool) -> Config:
        types = self._plugin_types()
        self._secrets = resolve(
            self._layers,
            {(): Config, **types},
            environ=self._environ,
            folder=self._path.absolute().parent,
            inline=str(self._layers.data.get("allow_inline_secrets", "")).lower() in _TRUE,
        )
        self._findings += self._secrets.findings
        entries = {section: self._entries(section, types) for section in self._catalogues}
        config = self._whole(entries)
        warnings = [*self._layers.warnings]
        for problem in (problem for check in CHECKS for problem in check(self._layers.data, config)):
            (warnings if problem.is_warning else self._findings).append(self._finding(problem))
        if not allow_missing_secrets:
            self._findings += [finding for _, finding in self._secrets.missing]
        if self._findings or config is None:
            raise ConfigError(*sorted(dict.fromkeys(self._findings), key=_by_line))
        config._file = self._path
        config._places = self._layers.places
        config._warnings = tuple(warnings)
        config._missing = tuple(self._secrets.missing)
        return config

    def _plugin_types(self) -> dict[KeyPath, type[BaseModel]]:
        """The settings model of each entry whose kind is known; a finding for each other one."""
        types: dict[KeyPath, type[BaseModel]] = {}
        for section, catalogue in self._catalogues.items():
            entries = self._layers.data.get(section)
            for index, entry in enumerate(entries if isinstance(entries, list) else []):
                try:
                    types[section, index] = catalogue.find(_kind(entry)).settings
                except PluginError as error:
                    at = (section, index, "kind") if isinstance(entry, dict) and "kind" in entry else (section, index)
                    what = f"{title((section, index), self._layers.data)}: {error}"
                    self._findings.append(self._layers.places.finding(at, what, error.mend))
                except _NoKind as error:
                    mend = f"write it as `- kind: …` with the keys of that {catalogue.noun} below"
                    self._findings.append(self._layers.places.finding((section, index), f"{error}", mend))
        return types

    def _entries(self, section: str, types: Mapping[KeyPath, type[BaseModel]]) -> tuple[BaseModel, ...] | Any:
        """The section's settings, each by its plug-in's model; what has findings is left out."""
        entries = self._layers.data.get(section)
        if not isinstance(entries, list):
            return () if entries is None else entries  # what it is instead of a list is told by the whole's validation
        settings = []
        for index, entry in enumerate(entries):
            if (model := types.get((section, index))) is None:
                continue
            try:
                settings.append(model.model_validate(entry))
            except ValidationError as error:
                self._findings += findings_of(error, model, (section, index), self._layers, self._secrets)
        return tuple(settings)

    def _whole(self, entries: Mapping[str, Any]) -> Config | None:
        # A section with nothing below it (`series:`) has its defaults.
        given = {key: value for key, value in self._layers.data.items() if value is not None}
        try:
            return Config(**{**given, **entries})
        except ValidationError as error:
            self._findings += findings_of(error, Config, (), self._layers, self._secrets)
            return None

    def _finding(self, problem: Problem) -> Finding:
        return self._layers.places.finding(problem.path, problem.what, problem.mend)


class _NoKind(ValueError):
    """The entry says no kind."""


def _kind(entry: Any) -> str:
    if not isinstance(entry, dict):
        raise _NoKind("an entry must be a mapping")
    kind = entry.get("kind")
    if not isinstance(kind, str) or not kind:
        raise _NoKind("'kind' is missing")
    return kind


def _by_line(finding: Finding) -> tuple[bool, str, int]:
    return (finding.line == 0, finding.file, finding.line)
