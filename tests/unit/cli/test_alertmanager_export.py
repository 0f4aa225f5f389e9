"""The Alertmanager configuration of `tocsin rules export`: the same routes, and what is lost said."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml
from click.testing import Result

from tocsin.config import load_config
from tocsin.config.plan import router_of
from tocsin.incidents.routes import GROUP_BY

Run = Callable[..., Result]

EVERYTHING = r"""
    rules: [rules.yaml]
    routes:
      - name: pages
        match: {severity: "P0|P1", path: '/a\.b"c'}
        notify: [slack, mail]
        group_by: [service]
        escalate: [{after: 5m, to: [hook]}]
        mentions: [here]
        repeat: 4h
        continue: true
        routes:
          - {match: {service: db}, notify: [hook], group_by: [], flap_window: 5m}
          - {match: {service: web}, group_by: ["..."]}
      - {match: {severity: "P2|P3"}, digest: daily, notify: [log]}
      - {match: {team: nobody}, notify: []}
    notifiers:
      - {kind: slack, name: slack, channel: C0123ABCDEF, token_env: SLACK_BOT_TOKEN, failover: mail}
      - {kind: email, name: mail, to: [a@example.com, b@example.com], from: t@example.com, host: smtp.example.com,
         username: tocsin, password_env: SMTP_PASSWORD}
      - {kind: webhook, name: hook, url_env: HOOK_URL, secret_env: HOOK_SECRET, headers: {X-Team: ops}}
      - {kind: console, name: log}
"""


@pytest.fixture
def written(run: Run, folder: Path) -> Path:
    """The file, made from a configuration that uses every key of a route."""
    (folder / "config.yaml").write_text(dedent(EVERYTHING).lstrip())
    result = run("rules", "export", "out")
    assert result.exit_code == 0, result.output
    return folder / "out" / "alertmanager.yml"


def document(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_the_routes_have_the_same_shape(written: Path) -> None:
    """Order, matchers, grouping, nesting and `continue`."""
    pages, digest, nobody = document(written)["route"]["routes"]
    assert (pages["matchers"], pages["receiver"], pages["group_by"], pages["continue"]) == (
        ['path=~"/a\\\\.b\\"c"', 'severity=~"P0|P1"'],
        "slack+mail",
        ["service"],
        True,
    )
    assert [(route["matchers"], route["group_by"]) for route in pages["routes"]] == [
        (['service=~"db"'], ["tocsin_one_group"]),
        (['service=~"web"'], ["..."]),
    ]
    assert (digest["receiver"], nobody["receiver"], pages["repeat_interval"]) == ("log", "nobody", "4h")


def test_what_no_route_takes_goes_where_tocsin_sends_it(written: Path, folder: Path) -> None:
    """The root is the fallback of the router."""
    fallback = router_of(load_config(folder / "config.yaml", {}, allow_missing_secrets=True)).fallback
    root = document(written)["route"]
    assert (root["receiver"], root["group_by"]) == (fallback.receivers[0], list(GROUP_BY))


def test_secrets_are_files_to_be_put_in_place(written: Path) -> None:
    """None is written, and each is named."""
    receivers = {receiver["name"]: receiver for receiver in document(written)["receivers"]}
    both = receivers["slack+mail"]
    assert both["slack_configs"][0]["http_config"]["authorization"]["credentials_file"] == (
        "/etc/alertmanager/secrets/slack"
    )
    assert both["email_configs"][0]["auth_password_file"] == "/etc/alertmanager/secrets/mail"
    assert "The address of hook is a secret (HOOK_URL)" in written.read_text()


@pytest.mark.parametrize(
    "lost",
    [
        "escalation to hook when nobody has acknowledged for 5m",
        "the daily digest",
        "waking here",
        "the flap window of 5m",
        "slack fails over to mail",
        "log, as Alertmanager has nothing like the kind console",
        "the headers X-Team",
        "the signature of hook",
    ],
)
def test_what_alertmanager_cant_do_is_said(written: Path, lost: str) -> None:
    """Where it is lost."""
    assert f"# Not here: {lost}" in written.read_text().replace("      #", "#").replace("    #", "#")


def test_it_is_written_with_the_rules_or_not_at_all(run: Run, folder: Path) -> None:
    """A file of that name with other content is in the way."""
    (folder / "out").mkdir()
    (folder / "out" / "alertmanager.yml").write_text("mine")
    refused = run("rules", "export", "out")
    assert (refused.exit_code, "is there already" in refused.output) == (2, True)
    assert [path.name for path in (folder / "out").iterdir()] == ["alertmanager.yml"]


@pytest.mark.peer
def test_amtool_and_promtool_accept_the_export(written: Path, real_peer: Callable[[str], Path]) -> None:
    """Debian's."""
    checks: tuple[list[str | Path], ...] = (
        [real_peer("amtool"), "check-config", written],
        [real_peer("promtool"), "check", "rules", *written.parent.glob("*.yaml")],
    )
    for command in checks:
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.peer
@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ({"severity": "P0", "path": '/a.b"c', "service": "db"}, "hook"),
        ({"severity": "P1", "path": '/a.b"c'}, "slack+mail"),
        ({"severity": "P2"}, "log"),
        ({"severity": "P0"}, "slack"),
    ],
)
def test_amtool_routes_alerts_as_tocsin_does(
    written: Path, folder: Path, real_peer: Callable[[str], Path], labels: dict[str, str], receivers: str
) -> None:
    """The real one is asked where an alert goes."""
    router = router_of(load_config(folder / "config.yaml", {}, allow_missing_secrets=True))
    ours = ["+".join(route.receivers) for route in router.routes_of(labels)]
    pairs = [f"{name}={json.dumps(value)}" for name, value in labels.items()]
    command: list[str | Path] = [real_peer("amtool"), "config", "routes", "test", f"--config.file={written}", *pairs]
    theirs = subprocess.run(command, capture_output=True, text=True).stdout.strip().split(",")
    assert (ours, theirs) == ([receivers], [receivers])
