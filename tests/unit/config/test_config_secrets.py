"""Secrets come from the environment or a file, are refused in clear, and are never shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tocsin.config import Config
from tocsin.errors import ConfigError

Load = Callable[..., Config]
Findings = Callable[..., list[str]]

HIDDEN = "hunter2-the-secret"


def probe(keys: str) -> str:
    return f"collectors:\n  - {{kind: probe, name: db, {keys}}}\n"


def clear(secret: Any) -> str:
    assert isinstance(secret, SecretStr)
    return secret.get_secret_value()


def test_a_secret_comes_from_the_environment(load: Load) -> None:
    """`dsn_env` names the variable."""
    config = load(probe("dsn_env: DB"), {"DB": HIDDEN})
    assert clear(config.collectors[0].dsn) == HIDDEN  # type: ignore[attr-defined]


def test_a_secret_comes_from_a_file_without_its_line_end(load: Load, tmp_path: Path) -> None:
    """As `echo` and Docker write it; the path is relative to config.yaml."""
    (tmp_path / "dsn").write_text(f"{HIDDEN}\n")
    assert clear(load(probe("dsn_file: dsn")).collectors[0].dsn) == HIDDEN  # type: ignore[attr-defined]


def test_a_secret_below_an_entry_is_resolved_too(load: Load) -> None:
    """Targets and headers have theirs."""
    config = load(probe("targets: [{url: x, key_env: KEY}], headers: {X-Key_env: KEY}"), {"KEY": HIDDEN})
    entry: Any = config.collectors[0]
    assert (clear(entry.targets[0].key), clear(entry.headers["X-Key"])) == (HIDDEN, HIDDEN)


def test_a_secret_of_a_section_is_resolved(load: Load) -> None:
    """Not only plug-ins have secrets."""
    assert load("state: {url_env: DB}", {"DB": "postgresql://u:p@h/d"}).state_url == "postgresql://u:p@h/d"


def test_a_variable_may_hold_the_secret_itself(load: Load) -> None:
    """TOCSIN_… is the environment already."""
    config = load("", {"TOCSIN_STATE__URL": "postgresql://u:p@h/d"})
    assert config.state_url == "postgresql://u:p@h/d"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            probe(f"dsn: {HIDDEN}"),
            "config.yaml:2: a secret in clear at 'dsn'; write dsn_env: VARIABLE or dsn_file: PATH",
        ),
        (probe(f"dsn: 'postgresql://u:{HIDDEN}@h/d'"), "config.yaml:2: an address with a password in it at 'dsn'"),
        (
            probe(f"dsn: 'host=h password={HIDDEN}'"),
            "config.yaml:2: a connection string with a password in it at 'dsn'",
        ),
        (probe(f"targets: [{{url: 'https://u:{HIDDEN}@h/'}}]"), "set TOCSIN_COLLECTORS__DB__TARGETS__0__URL instead"),
        (f"external_labels: {{note: xoxb-{HIDDEN}}}", "config.yaml:1: a Slack token at 'note'"),
        (f"external_url: https://hooks.slack.com/services/{HIDDEN}", "a Slack webhook's address, which is a secret"),
        (f"state:\n  url: postgresql://u:{HIDDEN}@h/d", "config.yaml:2: an address with a password in it at 'url'"),
    ],
)
def test_a_secret_in_clear_is_refused_and_not_shown(findings: Findings, text: str, told: str) -> None:
    """Files are committed and copied; environments are not."""
    (finding,) = findings(text)
    assert told in finding
    assert HIDDEN not in finding


@pytest.mark.parametrize(
    "dsn", ["postgresql://reader@db.example/app", "host=/run/postgresql dbname=app", "sqlite:///a"]
)
def test_an_address_without_a_password_is_no_secret(load: Load, dsn: str) -> None:
    """Peer authentication and .pgpass need none."""
    assert clear(load(probe(f"dsn: '{dsn}'")).collectors[0].dsn) == dsn  # type: ignore[attr-defined]


def test_inline_secrets_may_be_allowed(load: Load) -> None:
    """For a laptop."""
    config = load(f"allow_inline_secrets: true\n{probe(f'dsn: {HIDDEN}')}")
    assert clear(config.collectors[0].dsn) == HIDDEN  # type: ignore[attr-defined]


def test_a_configuration_does_not_show_its_secrets(load: Load) -> None:
    """In a log line or a traceback."""
    config = load(probe("dsn_env: DB"), {"DB": HIDDEN, "TOCSIN_STATE__URL": f"postgresql://u:{HIDDEN}@h/d"})
    assert HIDDEN not in f"{config!r} {config} {config.model_dump()!r} {config.model_dump_json()}"


def test_a_validators_message_does_not_show_a_secret(findings: Findings) -> None:
    """Whatever a plug-in quotes."""
    told = findings("", {"TOCSIN_STATE__URL": f"mysql://u:{HIDDEN}@h/d"})
    assert told == [
        "TOCSIN_STATE__URL: state.url: the scheme is not known; write sqlite:///tocsin.db or postgresql://host/database"
    ]


def test_a_secret_given_twice_is_told(findings: Findings) -> None:
    """Which of them counts is not guessed."""
    assert findings(probe("dsn_env: A, dsn_file: b"), {"A": HIDDEN}) == [
        "config.yaml:2: 'dsn' is given twice; keep one of dsn, dsn_env and dsn_file"
    ]


def test_the_secret_itself_in_place_of_a_variables_name_is_not_shown(findings: Findings) -> None:
    """`token_env: xoxb-…` is the most common slip."""
    assert findings(probe(f"dsn_env: {HIDDEN}"), allow_missing_secrets=True) == [
        "config.yaml:2: 'dsn_env' wants the name of an environment variable; such as SLACK_BOT_TOKEN"
    ]


MISSING = [
    ("dsn_env: DB", {}, "config.yaml:2: the environment variable DB is not set; export DB=…, or use dsn_file"),
    ("dsn_env: DB", {"DB": ""}, "config.yaml:2: the environment variable DB is empty; export DB=…, or use dsn_file"),
    (
        "dsn_file: none",
        {},
        "config.yaml:2: can't read the secret in none: No such file or directory; check the path and who may read it",
    ),
]


@pytest.mark.parametrize(("keys", "environ", "told"), MISSING)
def test_a_missing_secret_stops_the_daemon(findings: Findings, keys: str, environ: dict[str, str], told: str) -> None:
    """By the name of the variable or file that lacks it."""
    assert findings(probe(keys), environ) == [told]


@pytest.mark.parametrize(("keys", "environ", "told"), MISSING)
def test_a_missing_secret_does_not_stop_a_check(
    load: Load, tmp_path: Path, keys: str, environ: dict[str, str], told: str
) -> None:
    """CI checks the file without having the secrets."""
    config = load(probe(keys), environ, allow_missing_secrets=True)
    assert [str(f).replace(f"{tmp_path}/", "") for f in config.missing_secrets] == [told]


def test_an_empty_secret_file_is_missing(findings: Findings, tmp_path: Path) -> None:
    """A mount that was never filled."""
    (tmp_path / "dsn").write_text("\n")
    assert findings(probe("dsn_file: dsn")) == ["config.yaml:2: dsn is empty; put the secret there"]


def test_a_variable_that_a_plugin_reads_itself_is_looked_at(findings: Findings) -> None:
    """The plug-in would find out at the first alert."""
    assert findings("notifiers: [{kind: chat, name: c, channel: C1, token_env: BOT}]") == [
        "config.yaml:1: the environment variable BOT is not set; export BOT=…, or use token_file"
    ]


def test_what_needs_no_secret_runs_without_them(load: Load) -> None:
    """`tocsin silence` must work on a shell without the Slack token."""
    config = load(probe("dsn_env: DB"), allow_missing_secrets=True)
    config.require_secrets("state")
    with pytest.raises(ConfigError, match="environment variable DB is not set"):
        config.require_secrets()


def test_a_missing_state_address_is_never_replaced_by_the_default(load: Load) -> None:
    """A command would write into the wrong store."""
    config = load("state: {url_env: DB}", allow_missing_secrets=True)
    with pytest.raises(ConfigError, match="environment variable DB is not set"):
        _ = config.state_url
