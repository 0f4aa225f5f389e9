"""Every kind of collector and notifier explains itself: its module's docstring is its manual."""

from __future__ import annotations

import re

import pytest

from tocsin.ports import CollectorSettings, CollectorSpec, NotifierSettings, NotifierSpec
from tocsin.runtime import plugins

COLLECTORS = plugins.collectors().load_all()
NOTIFIERS = plugins.notifiers().load_all()


def families(spec: CollectorSpec) -> set[str]:
    """The first words of its metrics' names: `tocsin_endpoint`, `probe`, `pg`."""
    return {re.match(r"tocsin_[a-z0-9]+|[a-z0-9]+", metric.name)[0] for metric in spec.metrics}  # type: ignore[index]


@pytest.mark.parametrize("spec", COLLECTORS.values(), ids=COLLECTORS)
def test_a_collectors_manual_names_what_it_yields(spec: CollectorSpec) -> None:
    """Each family of its metrics, so that a search for one finds its page."""
    manual = plugins.collectors().describe(spec.kind)
    assert len(manual.splitlines()) > 3
    assert sorted(family for family in families(spec) if family not in manual) == []


@pytest.mark.parametrize("spec", COLLECTORS.values(), ids=COLLECTORS)
def test_every_metric_of_a_collector_says_what_it_means(spec: CollectorSpec) -> None:
    """Its help goes to /metrics and to the console; one name is declared once."""
    assert [metric.name for metric in spec.metrics if not metric.help.strip()] == []
    names = [metric.name for metric in spec.metrics]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("spec", NOTIFIERS.values(), ids=NOTIFIERS)
def test_a_notifiers_manual_shows_its_settings(spec: NotifierSpec) -> None:
    """Its kind as it is written in config.yaml, with every setting that has no default."""
    manual = plugins.notifiers().describe(spec.kind)
    assert f"kind: {spec.kind}" in manual
    own = {
        field.alias or name
        for name, field in spec.settings.model_fields.items()
        if field.is_required() and name not in NotifierSettings.model_fields
    }
    assert sorted(name for name in own if f"{name}:" not in manual) == []


@pytest.mark.parametrize("settings", [spec.settings for spec in COLLECTORS.values()], ids=COLLECTORS)
def test_a_collectors_settings_are_documented(settings: type[CollectorSettings]) -> None:
    """The model is the documentation of config.yaml: a docstring, and a description where the name does not say it."""
    assert (settings.__doc__ or "").strip()
