"""The file becomes a configuration, or every finding at once with its line and how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from tocsin.config import Config, load_config
from tocsin.errors import ConfigError

Load = Callable[..., Config]
Findings = Callable[..., list[str]]

SOUND = """
    collectors:
      - {kind: probe, name: db, interval: 5s}
    routes:
      - {match: {severity: "P0|P1"}, notify: pages, group_by: [service]}
      - {digest: daily, notify: [pages]}
    notifiers:
      - {kind: chat, name: pages, channel: C1}
"""


def test_an_empty_file_is_a_configuration(load: Load) -> None:
    """Everything has a default; that nothing is watched is a warning."""
    config = load("")
    assert [str(w).rpartition(": ")[2] for w in config.warnings] == [
        "nothing is watched; see `tocsin check --example`",
        "nobody is told; see `tocsin check --example`",
    ]


def test_entries_are_of_their_plugins_settings(load: Load) -> None:
    """The plug-in's model checks them and gives their type."""
    config = load(SOUND)
    assert [type(entry).__name__ for entry in (*config.collectors, *config.notifiers)] == [
        "ProbeSettings",
        "ChatSettings",
    ]


def test_a_section_without_keys_has_its_defaults(load: Load) -> None:
    """`series:` with everything below it commented out."""
    assert load("series:\nweb:\ncollectors:\nroutes:\n").series.retention == 86_400


def test_a_lone_name_is_a_list_of_one(load: Load) -> None:
    """`notify: pages` is what people write."""
    assert load(SOUND).routes[0].notify == ("pages",)


def test_a_configuration_does_not_change(load: Load) -> None:
    """A reload makes another one."""
    with pytest.raises(ValidationError, match="frozen"):
        load("").timezone = "Europe/Berlin"


def test_the_process_environment_is_not_read(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is given: the same input makes the same configuration."""
    monkeypatch.setenv("TOCSIN_TIMEZONE", "Europe/Berlin")
    monkeypatch.setenv("TIMEZONE", "Europe/Berlin")
    assert load("").timezone == "UTC"


def test_relative_paths_are_relative_to_the_file(load: Load, tmp_path: Path) -> None:
    """Wherever the daemon was started."""
    config = load("state: {url: sqlite:///var/state.db}")
    assert (config.state_url, config.series_path) == (
        f"sqlite:///{tmp_path}/var/state.db",
        tmp_path / "tocsin-series",
    )


@pytest.mark.parametrize("url", ["sqlite:////var/lib/t.db", "sqlite:///:memory:", "postgresql://db.example/tocsin"])
def test_other_state_addresses_stay_as_they_are(load: Load, url: str) -> None:
    """Absolute files, memory and servers have no folder to be relative to."""
    assert load(f"state: {{url: '{url}'}}").state_url == url


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("colectors: []", "1: unknown key 'colectors'; did you mean 'collectors'?"),
        ("web:\n  listn: x", "2: unknown key 'listn' in web; did you mean 'listen'?"),
        ("web: {listen: '9475'}", "1: web.listen: not HOST:PORT: '9475'; write it like 127.0.0.1:9475 or [::1]:9475"),
        (
            "web: {listen: 127.0.0.1:70000}",
            "1: web.listen: not HOST:PORT: '127.0.0.1:70000'; write it like 127.0.0.1:9475 or [::1]:9475",
        ),
        (
            "series:\n  max_series: many",
            "2: series.max_series: a whole number is wanted; new series past this are refused and counted",
        ),
        (
            "series: {retention: 24 hours}",
            "1: series.retention: not a duration: '24 hours'; write it like 30s, 5m or 1h30m",
        ),
        ("timezone: Mars/Base", "1: timezone: no such time zone: 'Mars/Base'; write it like Europe/Berlin or UTC"),
        ("digest: {at: 25:00}", "1: digest.at: not a time of day: '25:00'; write it like 09:00"),
        ("external_labels: {9a: x}", "1: external_labels: not a label name: '9a'; use letters, digits and _"),
        ("external_labels: {tier: 1}", "1: external_labels.tier: text is wanted; put it in quotes"),
        ("external_url: tocsin.example", "1: external_url: not an address; write it like https://tocsin.example"),
        (
            "state: {url: 'mysql://h/d'}",
            "1: state.url: the scheme is not known; write sqlite:///tocsin.db or postgresql://host/database",
        ),
        ("web: here", "1: web: a mapping (key: value) is wanted; check the indentation"),
        ("collectors: {kind: probe}", "1: collectors: a list is wanted; what is watched"),
        ("collectors: [probe]", "1: an entry must be a mapping; write it as `- kind: …`"),
        ("collectors:\n  - {name: a}", "2: 'kind' is missing; write it as `- kind: …`"),
        (
            "collectors:\n  - {kind: prob, name: a}",
            "2: collectors[a]: no collector of kind 'prob'; did you mean 'probe'?",
        ),
        (
            "collectors:\n  - kind: probe\n    name: a\n    intervall: 5s",
            "4: unknown key 'intervall' in collectors[a]; did you mean 'interval'?",
        ),
        (
            "collectors:\n  - kind: probe",
            "2: 'name' is missing in collectors[0]; add it: the `job` label of its series",
        ),
        (
            "collectors:\n  - {kind: probe, name: a, targets: [{url: x}, {uri: y}]}",
            "2: 'url' is missing in collectors[a].targets[1]; add it",
        ),
        (
            "collectors:\n  - {kind: probe, name: a, tokn: x}",
            "2: unknown key 'tokn' in collectors[a]; known keys: kind, name, interval, deadline, labels, dsn_env",
        ),
    ],
)
def test_what_is_wrong_is_told_with_line_key_and_mend(findings: Findings, text: str, told: str) -> None:
    """The line of the key, the key's path, what is wrong, and what to write instead."""
    assert [finding for finding in findings(text) if finding.startswith(f"config.yaml:{told}")] != []


def test_every_finding_is_told_at_once_in_the_order_of_the_file(findings: Findings) -> None:
    """From every layer: sections, entries, cross checks, secrets."""
    text = """\
        timezone: Mars
        collectors:
          - {kind: probe, name: a, interval: never}
          - {kind: prob, name: b}
        routes:
          - {notify: nobody}
        notifiers:
          - {kind: chat, name: c, token_env: NOT_SET}
        web: {listn: x}
    """
    told = findings(text, {"TOCSIN_SERIES__RETENTOIN": "5m"})
    assert [finding.partition(": ")[0] for finding in told] == [
        "config.yaml:1", "config.yaml:3", "config.yaml:4", "config.yaml:6", "config.yaml:8", "config.yaml:8",
        "config.yaml:9", "TOCSIN_SERIES__RETENTOIN",
    ]  # fmt: skip


def test_a_wrong_entry_does_not_make_its_list_too_short(findings: Findings) -> None:
    """One mistake is one finding: of a list whose only entry is wrong, the entry's."""
    wrong = "collectors:\n  - {kind: probe, name: a, places: [{uri: x}]}"
    assert [finding.partition(" in ")[0] for finding in findings(wrong)] == [
        "config.yaml:2: 'url' is missing", "config.yaml:2: unknown key 'uri'"
    ]  # fmt: skip
    (empty,) = findings("collectors:\n  - {kind: probe, name: a, places: []}")
    assert "at least 1 item" in empty


def test_findings_name_the_file_as_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`config.yaml:1`, not an absolute path that nobody typed."""
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text("x: 1\n")
    with pytest.raises(ConfigError, match=r"^config\.yaml:1: unknown key 'x'"):
        load_config(Path("config.yaml"), {})


def test_the_digest_is_at_the_files_hour_and_zone(load: Load) -> None:
    """`digest: daily` means what `digest` and `timezone` say."""
    config = load("timezone: Europe/Berlin\ndigest: {at: 07:30}\n")
    assert (config.daily_digest.at.isoformat(), config.daily_digest.zone) == ("07:30:00", "Europe/Berlin")


def test_config_is_a_settings_model() -> None:
    """Its schema is the documentation of the keys."""
    assert "what is watched" in Config.model_json_schema()["properties"]["collectors"]["description"]
