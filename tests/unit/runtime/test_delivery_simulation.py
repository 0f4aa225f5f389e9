"""Many seeds, each a small history of alerts, people, faults and crashes. A failing seed reproduces by its number.

TOCSIN_SEED=4711 runs one, and prints what happened. `make soak` runs more of them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tocsin.testing.mutants import MUTANTS, Mutant
from tocsin.testing.simulation import simulate
from tocsin.testing.soak import run_seed

ONE = os.environ.get("TOCSIN_SEED")
SEEDS = int(os.environ.get("TOCSIN_SEEDS", "200"))
AT_ONCE = 10
ONCE_FAILED = (84, 2116, 2343, 3374, 4322, 5421, 6131, 7260, 9090)
"""Beyond the first SEEDS: each has found a bug that no test knew."""
RUNS = [range(int(ONE), int(ONE) + 1)] if ONE else [range(n, n + AT_ONCE) for n in range(0, SEEDS, AT_ONCE)]
RUNS += [] if ONE else [range(n, n + 1) for n in ONCE_FAILED]


@pytest.mark.untraced  # thousands of steps of the same code: traced, they take three times as long
@pytest.mark.parametrize("seeds", RUNS, ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")
async def test_nothing_lost_nothing_twice_every_debt_paid(seeds: range, tmp_path: Path) -> None:
    """Through crashes at every boundary and errors of every class, from transition to delivered message."""
    failed = []
    for seed in seeds:
        run = await simulate(seed, tmp_path, logged=bool(ONE))
        if ONE:
            print(run)
        if run.violations:
            failed.append(str(run))
    assert failed == []


@pytest.mark.untraced  # thousands of steps of the same code: traced, they take three times as long
async def test_a_seed_makes_the_same_history_again(tmp_path: Path) -> None:
    """Or a failure could not be looked into."""
    (tmp_path / "again").mkdir()
    first, second = await simulate(7, tmp_path), await simulate(7, tmp_path / "again")
    assert (first.events, first.said, first.crashes) == (second.events, second.said, second.crashes)
    assert first.events


@pytest.mark.untraced  # as above
@pytest.mark.parametrize("bug", MUTANTS, ids=lambda bug: bug.name)
def test_it_finds_the_bug(bug: Mutant) -> None:
    """A simulation that no bug disturbs proves nothing: each of these breaks a promise, and is found by its seed."""
    assert run_seed(bug.seed, bug=bug).violations != []


def test_contributing_lists_every_bug_with_its_seed() -> None:
    """Who reads the table can run what it says."""
    page = (Path(__file__).parents[3] / "CONTRIBUTING.md").read_text()
    rows = [f"| {bug.name} | {bug.breaks} | {bug.seed} |" for bug in MUTANTS]
    assert [row for row in page.splitlines() if row in rows] == rows
