"""CONTRIBUTING.md's examples, taken off the page and run as the page says."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

FENCE = re.compile(
    r'^(?P<ticks>`{3,})\w+ title="(?P<title>[^"]+)"\n(?P<text>.*?)^(?P=ticks)$', re.MULTILINE | re.DOTALL
)
COPIED = ("collectors", "notifiers", "alert_rules", "runbooks", "dashboards", "tests/content")
ALSO = ("pyproject.toml", "tests/conftest.py", "tests/net.py", "tests/spread.py", "tests/notifiers/conftest.py")
BUILT = {"dashboards/machine.json"}
"""What a command on the page writes, and the page says so."""


@dataclass(frozen=True)
class Example:
    """The page's blocks: files by path, and command lines in their order."""

    files: dict[str, str]
    commands: list[str]


@pytest.fixture(scope="module")
def example(root: Path) -> Example:
    """What the page holds."""
    blocks = [(found["title"], found["text"]) for found in FENCE.finditer((root / "CONTRIBUTING.md").read_text())]
    return Example(
        files={title: text for title, text in blocks if title != "run"},
        commands=[line for title, text in blocks if title == "run" for line in text.splitlines()],
    )


def digests(folder: Path) -> dict[str, str]:
    """Every file below `folder`, less what Python leaves behind."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not {"__pycache__", ".pytest_cache", ".ruff_cache"} & set(path.parts)
    }


@pytest.fixture(scope="module")
def copy(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders that the page works in, without anything of the page yet."""
    folder = tmp_path_factory.mktemp("contributing")
    for name in COPIED:
        shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ALSO:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, folder / name)
    return folder


def ran(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command as it stands on the page, with this Python's own programs and the copy's modules first."""
    program, *arguments = shlex.split(command)
    assert program.startswith(".venv/bin/"), f"the page runs what is in .venv: {command}"
    return subprocess.run(
        [Path(sys.executable).parent / Path(program).name, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "PYTEST_ADDOPTS": "-p no:cacheprovider"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_page_shows_one_of_each(example: Example) -> None:
    """A collector, a notifier, a rule with its test and runbook, a panel; each Python file's test among them."""
    wanted = {
        "collectors/disk.py", "tests/collectors/test_disk.py", "notifiers/file.py", "tests/notifiers/test_file.py",
        "alert_rules/disk.yaml", "alert_rules/tests/disk.yaml", "runbooks/DiskFull.md", "dashboards/source/machine.py",
    }  # fmt: skip
    assert wanted <= set(example.files)


def test_the_examples_are_new_files(root: Path, example: Example) -> None:
    """Nothing that exists is edited: there is no registry."""
    assert [title for title in example.files if (root / title).exists()] == []


def test_what_the_page_says_to_run_passes_and_touches_nothing_else(example: Example, copy: Path) -> None:
    """Every command of the page, in its order, on the page's files and no other change."""
    before = digests(copy)
    for title, text in example.files.items():
        (copy / title).parent.mkdir(parents=True, exist_ok=True)
        (copy / title).write_text(text)
    assert example.commands != []
    for command in example.commands:
        outcome = ran(command, copy)
        assert outcome.returncode == 0, f"{command}\n{outcome.stdout}{outcome.stderr}"
        assert "warning: " not in outcome.stdout, f"{command}\n{outcome.stdout}"
    changed = dict(set(digests(copy).items()) - set(before.items()))
    assert set(changed) == set(example.files) | BUILT
    assert set(before) - set(digests(copy)) == set()
