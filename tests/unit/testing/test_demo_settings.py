"""The configuration that the demo writes is one that the daemon takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tocsin.config import Config, load_config, plan_of
from tocsin.testing.demo.settings import METRICS_TOKEN, POSTGRES_DSN, SLACK_TOKEN, Addresses, write_configuration


@pytest.fixture
def config(tmp_path: Path, root: Path) -> Config:
    addresses = Addresses(
        app="http://127.0.0.1:8000",
        slack="http://127.0.0.1:8001/api/",
        auth_log=tmp_path / "auth.jsonl",
        user_token=tmp_path / "user.token",
        rules=root / "examples" / "campaigns" / "rules",
    )
    addresses.user_token.write_text("a token")
    path = write_configuration(tmp_path / "config.yaml", addresses)
    dsn = "postgresql://tocsin:hunter2@127.0.0.1/campaigns"
    return load_config(path, {POSTGRES_DSN: dsn, SLACK_TOKEN: "xoxb-1", METRICS_TOKEN: "m-hunter2"})


def test_every_collector_polls_each_second(config: Config) -> None:
    """The demo is to be quick, by the daemon's own settings."""
    assert {one.name: one.interval for one in config.collectors} == {
        "database": 1.0, "web": 1.0, "app": 1.0, "auth": 1.0
    }  # fmt: skip


def test_no_secret_is_written(config: Config, tmp_path: Path) -> None:
    """The file names variables only."""
    text = (tmp_path / "config.yaml").read_text()
    assert "hunter2" not in text
    assert "xoxb" not in text


def test_database_and_pages_are_one_service(config: Config) -> None:
    """So a database that is down, and the pages that fail with it, are one incident."""
    services = {one.name: one.labels.get("service") for one in config.collectors}
    assert services == {"database": "campaigns", "web": "campaigns", "app": "campaigns", "auth": "campaigns-auth"}
    assert config.routes[0].group_by == ("service",)


def test_no_message_is_held_back_for_a_storm_summary(config: Config) -> None:
    """The demo's loop would spend an ordinary budget within minutes, and a fault would look missed."""
    assert plan_of(config).destinations["slack"].budget.burst >= 1000
