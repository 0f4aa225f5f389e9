"""How bad an advisory is, and which release mends it."""

from __future__ import annotations

from typing import Any

import pytest

from collectors.dependencies.cvss import base_score
from collectors.dependencies.report import Severity, lowest_above, rated


@pytest.mark.parametrize(
    ("vector", "score"),
    [
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
        ("CVSS:3.0/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", 6.4),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),
        ("CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H/E:P", 7.8),
        ("CVSS:3.1/AV:P/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N", 2.4),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", None),
        ("CVSS:3.1/AV:N", None),
        ("CVSS:3.1/AV:Z/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", None),
    ],
)
def test_a_vector_has_the_score_that_its_authors_calculator_gives(vector: str, score: float | None) -> None:
    """Other versions, and vectors that are not whole, have none here."""
    assert base_score(vector) == score


@pytest.mark.parametrize(
    ("record", "severity"),
    [
        ({"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]}, "critical"),
        ({"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H"}]}, "high"),
        (
            {"severity": [{"type": "CVSS_V4", "score": "CVSS:4.0/AV:N"}], "database_specific": {"severity": "LOW"}},
            "low",
        ),
        ({"severity": "high", "database_specific": None}, "unknown"),
    ],
)
def test_an_advisory_without_a_word_is_rated_by_its_vector(record: dict[str, Any], severity: str) -> None:
    """As PYSEC's are: a 9.8 is a P1, not a question."""
    assert rated(record) is Severity(severity)


@pytest.mark.parametrize(
    ("version", "fixes", "lowest"),
    [
        ("2.0.1", ("1.2.5", "2.0.3", "2.1"), "2.0.3"),
        ("2.0.1", ("1.2.5",), ""),
        ("2.0rc1", ("2.0",), "2.0"),
        ("2.0.0-beta.1", ("2.0.0", "2.0.1"), "2.0.0"),
        ("1.0.10", ("1.0.9", "1.0.11"), "1.0.11"),
        ("1.0.0.1", ("1.0.0.0", "1.0.0.2"), "1.0.0.2"),
        ("1!1.0", ("2.0", "1!1.1"), "1!1.1"),
    ],
)
def test_the_release_that_mends_is_one_above_what_is_installed(
    version: str, fixes: tuple[str, ...], lowest: str
) -> None:
    """An advisory lists the fix of each release line: an older line's is no way out."""
    assert lowest_above(fixes, version) == lowest
