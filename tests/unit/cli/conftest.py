"""A folder with a configuration, and a runner that stands in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest
from click.testing import CliRunner, Result

from tocsin.cli import cli

Run = Callable[..., Result]

CONFIG = """
    routes:
      - {match: {severity: "P0|P1"}, notify: [log]}
      - {match: {severity: "P2|P3"}, digest: daily, notify: [log]}
    notifiers:
      - {kind: console, name: log}
    collectors:
      - {kind: endpoint, name: web, targets: [{url: "http://127.0.0.1:1/", name: app}]}
    rules: [rules.yaml]
"""
RULES = """
    groups:
      - name: web
        rules:
          - alert: Down
            expr: tocsin_endpoint_up == 0
            labels: {severity: P0}
            annotations: {summary: it is down, runbook_url: "https://docs.example/runbooks/Down"}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: config.yaml, a rule, its runbook and no dashboards; no TOCSIN_… variables."""
    monkeypatch.chdir(tmp_path)
    for name in ("TOCSIN_CONFIG", "TOCSIN_TOKEN", "TOCSIN_URL", "TOCSIN_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "config.yaml").write_text(dedent(CONFIG).lstrip())
    (tmp_path / "rules.yaml").write_text(dedent(RULES).lstrip())
    (tmp_path / "runbooks").mkdir()
    (tmp_path / "runbooks" / "Down.md").write_text("# Down\n")
    (tmp_path / "dashboards").mkdir()
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    """Runs `tocsin` with these arguments in the folder."""
    return lambda *args, **options: CliRunner().invoke(cli, args, prog_name="tocsin", **options)
