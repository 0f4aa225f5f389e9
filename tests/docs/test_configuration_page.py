"""docs/configuration.md says every key there is, and the commented example shows every section."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from docs.source import configuration
from tocsin.config import Config, load_config
from tocsin.runtime import plugins


def models(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    """`model` and every model that it holds, each once."""
    if model not in seen:
        seen.add(model)
        yield model
        for field in model.model_fields.values():
            for held in configuration.models_in(field.annotation):
                yield from models(held, seen)


@pytest.fixture(scope="module")
def everything() -> list[type[BaseModel]]:
    """The file's own models and every plug-in's."""
    tops: list[type[BaseModel]] = [Config]
    tops += [spec.settings for spec in plugins.collectors().load_all().values()]
    tops += [spec.settings for spec in plugins.notifiers().load_all().values()]
    seen: set[type[BaseModel]] = set()
    return [found for top in tops for found in models(top, seen)]


def test_the_page_is_what_the_models_say(root: Path) -> None:
    """After a change of a model: .venv/bin/python -m docs.source.configuration"""
    assert (root / "docs" / "configuration.md").read_text() == configuration.page()


def test_every_key_has_its_line(root: Path, everything: list[type[BaseModel]]) -> None:
    """Of every section and of every kind, at whatever depth, and with a meaning."""
    page = (root / "docs" / "configuration.md").read_text()
    lines = re.findall(r"^\| `([a-z_]+)` \| .+ \| .* \| (.*) \|$", page, re.MULTILINE)
    told = {key for key, meaning in lines if len(meaning) > 3}
    keys = {field.alias or name for model in everything for name, field in model.model_fields.items()}
    assert sorted(keys - told) == []
    headings = set(re.findall(r"^### (.+)$", page, re.MULTILINE))
    assert {f"collectors: {kind}" for kind in plugins.collectors().load_all()} <= headings
    assert {f"notifiers: {kind}" for kind in plugins.notifiers().load_all()} <= headings


def test_what_the_page_explains_by_itself_no_model_explains(everything: list[type[BaseModel]]) -> None:
    """A description in the model wins; the page's own words for it must go then."""
    silent = {
        name
        for model in everything
        for name, field in model.model_fields.items()
        if not field.description and not configuration.models_in(field.annotation)
    }
    assert sorted(set(configuration.SAYS) - silent) == []


def test_defaults_are_written_as_the_file_takes_them() -> None:
    """A reader may copy them."""
    fields = Config.model_fields
    assert configuration.default_of(fields["rules"]) == "`[alert_rules/*.yaml]`"
    assert configuration.default_of(fields["allow_inline_secrets"]) == "`false`"
    retention = configuration.models_in(fields["series"].annotation)[0].model_fields["retention"]
    assert (configuration.form_of(retention), configuration.default_of(retention)) == ("duration", "`1d`")


def test_the_shipped_config_names_only_keys_of_the_page(root: Path) -> None:
    """config.yaml of the repository loads, secrets apart."""
    config = load_config(root / "config.yaml", {"PATH": os.environ.get("PATH", "")}, allow_missing_secrets=True)
    assert len(config.collectors) >= 3
