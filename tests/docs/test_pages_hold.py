"""The pages in prose: their links lead somewhere, their configurations are valid, their figures and names are right."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from notifiers.slack import health
from tocsin.cli import COMMANDS, cli
from tocsin.rules import AlertRule, load_rules

PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "ARCHITECTURE.md", *(
    f"docs/{name}.md"
    for name in (
        "alert-generator", "alerting", "application", "commands", "configuration", "console", "dependencies",
        "endpoints", "operating", "promql", "slack",
    )
))  # fmt: skip
LINKED = re.compile(r"(?:\]\(|src=\"|srcset=\")([^)\"\s#]+)(#[^)\"\s]+)?")


def anchors(page: str) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {"#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(root: Path, page: str) -> None:
    """To a file that is there, and to a heading that it has."""
    text = re.sub(r"^(`{3,}).*?^\1", "", (root / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    dead = []
    for target, anchor in LINKED.findall(text):
        path = (root / page).parent / target
        if "://" not in target and not path.exists():
            dead.append(target)
        elif anchor and path.is_file() and anchor not in anchors(path.read_text()):
            dead.append(target + anchor)
    assert dead == []


@pytest.mark.parametrize("page", ["README.md", "docs/endpoints.md", "docs/operating.md", "docs/slack.md"])
def test_configurations_on_the_pages_are_valid(
    root: Path, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `tocsin check` sees them: no finding, and no warning but for secrets that are not here."""
    blocks = re.findall(r'^```yaml title="[^"]+"\n(.*?)^```$', (root / page).read_text(), re.MULTILINE | re.DOTALL)
    assert blocks != []
    monkeypatch.chdir(tmp_path)
    for text in blocks:
        (tmp_path / "config.yaml").write_text(text)
        ran = CliRunner().invoke(cli, ["check"])
        assert ran.exit_code == 0, ran.output
        told = [line for line in ran.output.splitlines() if line.startswith("warning: ")]
        harmless = ("is not set", "nothing can be written", "no route", "no notifier", "no collector")
        assert [line for line in told if not any(words in line for words in harmless)] == []


@pytest.mark.parametrize("page", PAGES)
def test_commands_that_are_named_are_there(root: Path, page: str) -> None:
    """`tocsin WORD` and `make WORD`."""
    text = (root / page).read_text()
    assert set(re.findall(r"`(?:\.venv/bin/)?tocsin ([a-z]+)\b", text)) <= set(COMMANDS)
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", text)) <= targets


def test_there_are_as_many_rules_as_is_said(root: Path) -> None:
    """They say "more than", so that adding a rule is no edit of two pages."""
    groups = load_rules(sorted((root / "alert_rules").glob("*.yaml")))
    count = sum(isinstance(rule, AlertRule) for group in groups for rule in group.rules)
    for page in ("README.md", "CHANGELOG.md"):
        said = re.findall(r"More than (\d+) alert rules", (root / page).read_text())
        assert [int(number) < count for number in said] == [True], page


def test_the_pictures_are_small_enough_to_be_kept(root: Path) -> None:
    """PNG files below 200 kB, each used by a page."""
    pictures = sorted((root / "docs" / "images").iterdir())
    pages = "".join((root / page).read_text() for page in PAGES)
    assert len(pictures) >= 2
    for picture in pictures:
        content = picture.read_bytes()
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        assert len(content) < 200_000
        assert min(struct.unpack(">II", content[16:24])) >= 390
        assert f"images/{picture.name}" in pages


def test_the_slack_apps_manifest_asks_for_what_the_notifier_needs(root: Path) -> None:
    """Every scope that the health check wants of a public and of a private channel, and none beyond."""
    manifest = yaml.safe_load((root / "deploy" / "slack-app-manifest.yaml").read_text())
    scopes = manifest["oauth_config"]["scopes"]["bot"]
    assert sorted(scopes) == sorted({*health._PUBLIC, *health._PRIVATE})
    assert manifest["settings"]["interactivity"]["is_enabled"] is False
    page = (root / "docs" / "slack.md").read_text()
    assert [scope for scope in scopes if f"`{scope}`" not in page] == []


def test_the_slack_page_names_the_templates_there_are(root: Path) -> None:
    """A folder of one's own replaces them by name."""
    names = {path.stem for path in (root / "notifiers" / "slack" / "templates").glob("*.j2")}
    page = (root / "docs" / "slack.md").read_text().partition("## Templates")[2]
    assert names <= set(re.findall(r"`(\w+)`", page))


def test_the_changelog_names_the_version_that_is_built(root: Path) -> None:
    """Under Unreleased, until it is released."""
    version = re.search(r'^version = "([^"]+)"', (root / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert re.search(
        rf"^## \[?(Unreleased\]?: )?{re.escape(version[1])}", (root / "CHANGELOG.md").read_text(), re.MULTILINE
    )
