"""Rules, dashboards and runbooks are beside config.yaml, or the copy that came with Tocsin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tocsin.config import Config, bundled_path, content_path, rule_files
from tocsin.errors import ConfigError

Load = Callable[..., Config]


def test_the_folder_beside_the_file_wins(tmp_path: Path) -> None:
    """A team's own rules replace the shipped ones as a whole."""
    (tmp_path / "runbooks").mkdir()
    assert content_path("runbooks", tmp_path) == tmp_path / "runbooks"


def test_without_one_it_is_the_bundled_copy(tmp_path: Path) -> None:
    """After a bare pip install there is nothing else."""
    assert content_path("alert_rules", tmp_path) == bundled_path("alert_rules")
    assert [*bundled_path("alert_rules").glob("*.yaml")] != []


def test_rule_files_are_sorted_and_named_once(load: Load, tmp_path: Path) -> None:
    """Two globs may overlap."""
    (tmp_path / "r").mkdir()
    for name in ("b.yaml", "a.yaml", "c.txt"):
        (tmp_path / "r" / name).touch()
    config = load("rules: ['r/*.yaml', r/b.yaml]")
    assert rule_files(config) == (tmp_path / "r/a.yaml", tmp_path / "r/b.yaml")


def test_the_default_rules_are_the_bundled_ones(load: Load) -> None:
    """`alert_rules/*.yaml` works without a checkout, and leaves the tests below it out."""
    files = rule_files(load(""))
    assert {file.parent for file in files} == {bundled_path("alert_rules")}


def test_own_rules_hide_the_bundled_ones(load: Load, tmp_path: Path) -> None:
    """Content is not mixed file by file."""
    (tmp_path / "alert_rules").mkdir()
    (tmp_path / "alert_rules" / "own.yaml").touch()
    assert rule_files(load("")) == (tmp_path / "alert_rules" / "own.yaml",)


def test_an_absolute_glob_is_taken_as_it_is(load: Load, tmp_path: Path) -> None:
    """Rules may be anywhere."""
    (tmp_path / "x.yaml").touch()
    assert rule_files(load(f"rules: ['{tmp_path}/x.yaml']")) == (tmp_path / "x.yaml",)


def test_a_glob_that_matches_nothing_is_refused(load: Load, tmp_path: Path) -> None:
    """A daemon without rules is silent for the wrong reason."""
    with pytest.raises(ConfigError) as caught:
        rule_files(load("rules:\n  - x/*.yaml\n"))
    assert str(caught.value) == (
        f"{tmp_path}/config.yaml:2: rules: no file matches 'x/*.yaml'; check the path: it is relative to {tmp_path}"
    )
