"""The dashboards: what is imported is what the source says, and every panel charts what somebody yields."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.content.declared import Declared
from tocsin.cli import cli
from tocsin.cli.inspection.content import with_variables
from tocsin.promql import compile_expr

Panel = dict[str, Any]


@pytest.fixture(scope="module")
def boards(root: Path) -> dict[str, Panel]:
    """Every dashboard by its file's name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((root / "dashboards").glob("*.json"))}


def panels(board: Panel) -> Iterator[Panel]:
    """Every panel, those of collapsed rows too, and the rows themselves."""
    for panel in board.get("panels", []):
        yield panel
        yield from panels(panel)


def charts(board: Panel) -> Iterator[Panel]:
    """Panels that show something."""
    return (panel for panel in panels(board) if panel["type"] != "row")


def test_there_is_an_overview(boards: dict[str, Panel]) -> None:
    """The page that an on-call shift begins with."""
    assert "overview" in boards


def test_the_json_is_what_the_source_says(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`tocsin dashboards build --check` finds no file that was edited by hand or not built anew."""
    monkeypatch.chdir(root)
    ran = CliRunner().invoke(cli, ["dashboards", "build", "--check"])
    assert (ran.output, ran.exit_code) == ("", 0)


def test_every_dashboard_has_a_source_and_an_address_of_its_own(root: Path, boards: dict[str, Panel]) -> None:
    """A uid is the dashboard's address: two of one would overwrite each other."""
    sources = {path.stem for path in (root / "dashboards" / "source").glob("*.py")}
    assert set(boards) <= sources
    assert [uid for uid, times in Counter(board["uid"] for board in boards.values()).items() if times > 1] == []


def test_panel_ids_are_unique(boards: dict[str, Panel]) -> None:
    """A link to a panel names its id."""
    for board in boards.values():
        ids = Counter(panel["id"] for panel in panels(board))
        assert [number for number, times in ids.items() if times > 1 or number <= 0] == []


def test_every_query_has_a_ref_id_of_its_own(boards: dict[str, Panel]) -> None:
    """Grafana drops queries without one, and mixes up those that share one."""
    for board in boards.values():
        for panel in charts(board):
            refs = [target["refId"] for target in panel["targets"]]
            assert all(refs), panel["title"]
            assert len(set(refs)) == len(refs), panel["title"]


def test_every_panel_says_what_it_is_for_and_asks_the_chosen_source(boards: dict[str, Panel]) -> None:
    """A title, a sentence, and the data source of the variable: an import asks for it once."""
    for board in boards.values():
        assert [panel["id"] for panel in charts(board) if not panel.get("title") or not panel.get("description")] == []
        assert {panel["datasource"]["uid"] for panel in charts(board)} == {"${datasource}"}


def test_panels_chart_declared_series_by_declared_labels(boards: dict[str, Panel], declared: Declared) -> None:
    """A panel on a metric that nothing yields is empty for ever, and looks like calm."""
    wrong: dict[str, set[str]] = {}
    for name, board in boards.items():
        for panel in charts(board):
            for target in panel["targets"]:
                plan = compile_expr(with_variables(target["expr"]))
                if found := declared.unknown_names(plan) | declared.unknown_labels(plan):
                    wrong[f"{name}: {panel['title']}"] = found
    assert wrong == {}


def test_legends_name_labels_that_the_lines_bear(boards: dict[str, Panel], declared: Declared) -> None:
    """Grafana writes an empty word for another one, and all lines are called the same."""
    wrong: dict[str, set[str]] = {}
    for name, board in boards.items():
        for panel in charts(board):
            for target in panel["targets"]:
                borne = declared.borne(compile_expr(with_variables(target["expr"])).tree)
                named = set(re.findall(r"{{\s*(\w+)\s*}}", target["legendFormat"]))
                if borne is not None and named - borne:
                    wrong[f"{name}: {panel['title']}"] = named - borne
    assert wrong == {}


def test_links_lead_to_runbooks_that_are_there(boards: dict[str, Panel], runbooks: dict[str, str]) -> None:
    """At the daemon's address, which the reader gives once at the top."""
    links = {link["url"] for board in boards.values() for panel in charts(board) for link in panel.get("links") or ()}
    assert len(links) >= 10
    assert links - {f"${{tocsin:raw}}/runbooks/{alert}" for alert in runbooks} == set()


def test_queries_ask_by_variables_that_the_reader_can_pick(boards: dict[str, Panel]) -> None:
    """One that the dashboard has not is empty, and matches nothing; one that no query asks by picks nothing."""
    for name, board in boards.items():
        texts = [target["expr"] for panel in charts(board) for target in panel["targets"]]
        texts += [link["url"] for panel in charts(board) for link in panel.get("links") or ()]
        asked = {found for text in texts for found in re.findall(r"\$\{?(\w+)", text)}
        given = {variable["name"] for variable in board["templating"]["list"]}
        assert asked <= given, name
        assert given - asked <= {"datasource", "tocsin"}, name


def test_a_share_or_a_time_that_is_not_known_is_not_shown_as_nought(boards: dict[str, Panel]) -> None:
    """No sign-in at all is no outage, and no objective no broken promise."""
    for board in boards.values():
        for panel in (panel for panel in charts(board) if panel["type"] == "stat"):
            known = panel["fieldConfig"]["defaults"]
            assert known["noValue"] == "no data" or known["unit"] == "short", panel["title"]


def test_panels_do_not_overlap(boards: dict[str, Panel]) -> None:
    """Each square of the grid belongs to one panel."""
    for name, board in boards.items():
        squares = Counter(
            (x, y)
            for panel in board["panels"]
            for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
        )
        assert [square for square, times in squares.items() if times > 1] == [], name
        assert max(x for x, _ in squares) < 24, name
