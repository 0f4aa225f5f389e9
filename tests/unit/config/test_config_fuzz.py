"""Whatever a file holds, it is a configuration or a ConfigError whose findings have a place: never anything else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tocsin.config import load_config
from tocsin.errors import ConfigError, Finding
from tocsin.runtime.plugins import Catalogue

EXAMPLE = yaml.safe_load(
    """
    collectors:
      - {kind: probe, name: a, interval: 5s, dsn_env: DSN, targets: [{url: x, key_file: k}], labels: {a: b}}
    rules: [a.yaml]
    routes:
      - match: {severity: P0}
        notify: [pages]
        group_by: [service]
        mentions: [here]
        escalate: [{after: 5m, to: [backup]}]
        digest: {at: 09:00, timezone: UTC}
        routes: [{match: {a: b}}]
    notifiers:
      - {kind: chat, name: pages, channel: C1, token_env: BOT, failover: backup, mentions: {ana: U1}}
      - {kind: plain, name: backup}
    series: {retention: 1h, remote_write: [{url: "http://x", headers: {A_env: DSN}}], engine: {prometheus: "http://x"}}
    state: {url: "sqlite:///x"}
    web: {listen: "127.0.0.1:1", supabase: {url: "http://x"}}
    telemetry: {otlp_headers: {A: b}}
    external_labels: {a: b}
    """
)

odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False)
    | st.text(max_size=6)
    | st.sampled_from(
        ["P0", "5m", "pages", "backup", "DSN", "probe", "chat", "http://x:y@z", "sqlite:///", "1:2:3", "*"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, value in below for place in places(value, (*path, key)))]


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """The example with something else in up to three places."""
    tree = json.loads(json.dumps(EXAMPLE))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([place for place in places(tree) if place]))
        at = tree
        for key in path[:-1]:
            at = at[key]
        if draw(st.booleans()) or isinstance(at, list):
            at[path[-1]] = draw(odd)
        else:
            at[draw(st.text(max_size=6))] = at.pop(path[-1])
    return tree


def told(path: Path, environ: dict[str, str], catalogues: dict[str, Catalogue[Any]]) -> tuple[Finding, ...]:
    """The findings; none for a configuration. Anything else that is raised fails the test."""
    try:
        load_config(path, environ, **catalogues)
    except ConfigError as error:
        return error.findings
    return ()


@pytest.fixture
def catalogues(known_collectors: Catalogue[Any], known_notifiers: Catalogue[Any]) -> dict[str, Catalogue[Any]]:
    return {"collectors": known_collectors, "notifiers": known_notifiers}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(tree=mutated())
def test_any_tree_is_a_configuration_or_findings(
    tree: dict[str, Any], tmp_path: Path, catalogues: dict[str, Catalogue[Any]]
) -> None:
    """No other exception, and every finding names the file or the variable."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    assert {finding.file for finding in told(path, {"DSN": "x"}, catalogues)} <= {str(path)}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(text=st.text(alphabet="ab:- \n\t[]{}&*!|>'\"#%@`,?~<0.", max_size=40))
def test_any_text_is_a_configuration_or_findings(
    text: str, tmp_path: Path, catalogues: dict[str, Catalogue[Any]]
) -> None:
    """YAML's own corners."""
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    assert [finding for finding in told(path, {}, catalogues) if not finding.what] == []


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    name=st.lists(
        st.sampled_from(["WEB", "LISTEN", "COLLECTORS", "A", "0", "ROUTES", "MATCH", "SEVERITY", "", "X", "TIMEZONE"]),
        min_size=1,
        max_size=4,
    ),
    value=st.text(max_size=8) | st.sampled_from(["[a, b]", "{a: b}", "[", "P0", "{a: {b: c}}"]),
)
def test_any_variable_is_a_setting_or_a_finding(
    name: list[str], value: str, tmp_path: Path, catalogues: dict[str, Catalogue[Any]]
) -> None:
    """Whatever it addresses, and whatever it holds."""
    path = tmp_path / "config.yaml"
    path.write_text("collectors: [{kind: probe, name: a}]\nroutes: [{match: {severity: P0}, notify: []}]\n")
    variable = f"TOCSIN_{'__'.join(name)}"
    assert {finding.file for finding in told(path, {variable: value}, catalogues)} <= {variable, str(path)}
