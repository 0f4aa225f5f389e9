"""A folder to write config.yaml into, and plug-ins that exist for these tests only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent
from types import MappingProxyType
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from tocsin.config import Config, load_config
from tocsin.errors import ConfigError
from tocsin.ports import CollectorSettings, CollectorSpec, NotifierSettings, NotifierSpec
from tocsin.runtime.plugins import Catalogue, Plugin


class Target(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    key: SecretStr | None = None


class ProbeSettings(CollectorSettings):
    """A collector whose secrets the configuration resolves."""

    dsn: SecretStr | None = None
    targets: tuple[Target, ...] = ()
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    places: tuple[Target, ...] = Field(default=(), min_length=1)


class ChatSettings(NotifierSettings):
    """A notifier that reads its token itself, at use."""

    channel: str
    token_env: str | None = None
    token_file: Path | None = None
    mentions: dict[str, str] = Field(default_factory=dict)


def _known(package: str, *specs: Any) -> Catalogue[Any]:
    """A catalogue of just these."""
    catalogue: Catalogue[Any] = Catalogue(package, type(specs[0]), entry_points=lambda group: ())
    catalogue._places = ()
    catalogue._plugins = {spec.kind: Plugin(spec=spec, module=__name__, origin="this test") for spec in specs}
    return catalogue


def _never(*_: object) -> None:
    raise AssertionError("loading a configuration builds nothing")


COLLECTORS = _known("collectors", CollectorSpec(kind="probe", settings=ProbeSettings, build=_never, metrics=()))
NOTIFIERS = _known(
    "notifiers",
    NotifierSpec(kind="chat", settings=ChatSettings, build=_never, edits=True),
    NotifierSpec(kind="plain", settings=NotifierSettings, build=_never),
)

Load = Callable[..., Config]
Findings = Callable[..., list[str]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Writes `text` to config.yaml and loads it with `environ`."""

    def load(text: str, environ: Mapping[str, str] = MappingProxyType({}), **options: bool) -> Config:
        path = tmp_path / "config.yaml"
        path.write_text(dedent(text))
        return load_config(path, environ, collectors=COLLECTORS, notifiers=NOTIFIERS, **options)

    return load


@pytest.fixture
def findings(load: Load, tmp_path: Path) -> Findings:
    """The findings of a configuration that can't be used, one text each, without the folder."""

    def findings(text: str, environ: Mapping[str, str] = MappingProxyType({}), **options: bool) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(text, environ, **options)
        return [str(finding).replace(f"{tmp_path}/", "") for finding in caught.value.findings]

    return findings


@pytest.fixture
def known_notifiers() -> Catalogue[Any]:
    """The notifiers that these tests configure."""
    return NOTIFIERS


@pytest.fixture
def known_collectors() -> Catalogue[Any]:
    """The collectors that these tests configure."""
    return COLLECTORS
