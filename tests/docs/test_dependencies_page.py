"""docs/dependencies.md: a line for each runtime dependency, and for none that is not one."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from docs.source import weigh

LINE = re.compile(r"^\| `([a-z0-9-]+)` \| (.+?) \| (\d+) \| (\d+) \| (.*?) ?\| (.+) \|$", re.MULTILINE)


def test_every_runtime_dependency_has_its_line(root: Path) -> None:
    """What for, what it weighs, and why not our own; in the order of pyproject.toml."""
    lines = LINE.findall((root / "docs" / "dependencies.md").read_text())
    assert [name for name, *_ in lines] == weigh.declared()
    assert [name for name, purpose, *_, why in lines if len(purpose) < 5 or len(why) < 10] == []


def test_every_one_can_be_weighed(root: Path) -> None:
    """`python -m docs.source.weigh` knows what to import of each."""
    assert sorted(weigh.IMPORTS) == sorted(weigh.declared())
    assert set(weigh.LATE) <= set(weigh.IMPORTS)


def test_weighing_tells_a_heavy_import_from_none() -> None:
    """In a fresh process each, so that what this one has loaded does not count."""
    nothing, something = weigh.weigh("pass"), weigh.weigh("import json.decoder, decimal, email.message")
    assert something[1] > nothing[1]


def test_names_are_read_without_extras_and_versions() -> None:
    """`psycopg[binary,pool]>=3.3.2` is psycopg."""
    assert [weigh.name_of(text) for text in ("psycopg[binary,pool]>=3.3.2", "apscheduler>=3.11,<4", "pyyaml")] == [
        "psycopg",
        "apscheduler",
        "pyyaml",
    ]


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_names_the_extras_that_its_packages_ask_of_each_other(root: Path, lock: str) -> None:
    """`coverage[toml]==1.2`, not `coverage==1.2`: pip before 23.3 looks for `coverage[toml]` apart, takes the newest
    release instead of the locked one, and refuses it for want of a hash."""
    pins = [Requirement(line.rstrip(" \\")) for line in (root / lock).read_text().splitlines() if line[:1].isalnum()]
    pinned = {canonicalize_name(pin.name): pin for pin in pins}
    missing = [
        f"{pin.name} asks for {asked}"
        for pin in pins
        for asked in asked_by(pin)
        if not asked.extras <= pinned[canonicalize_name(asked.name)].extras
    ]
    assert missing == []


def asked_by(pin: Requirement) -> list[Requirement]:
    """What an installed package requires here, with the extras it is pinned with; nothing where it is not for here."""
    if pin.marker is not None and not pin.marker.evaluate():
        return []
    requirements = [Requirement(text) for text in importlib.metadata.requires(pin.name) or ()]
    extras = pin.extras or {""}
    return [
        asked
        for asked in requirements
        if asked.marker is None or any(asked.marker.evaluate({"extra": extra}) for extra in extras)
    ]
