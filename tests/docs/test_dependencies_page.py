"""docs/dependencies.md: a line for each runtime dependency, and for none that is not one."""

from __future__ import annotations

import re
from pathlib import Path

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
