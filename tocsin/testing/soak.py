"""`make soak` and `make mutants`: many seeds of the simulation, and the bugs that it must find.

python -m tocsin.testing.soak --seeds 10000          # every seed from 0 on; exit 1 when one violates anything
python -m tocsin.testing.soak --seed 4711            # one seed, with all that happened in it
python -m tocsin.testing.soak --mutants              # for each mutant the first seed that finds it
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from tocsin.testing.mutants import MUTANTS, Mutant, mutant
from tocsin.testing.simulation import Run, simulate

AT_ONCE = 25


def _say(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def run_seed(seed: int, *, bug: Mutant | None = None, logged: bool = False) -> Run:
    """One seed in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder, mutant(bug) if bug else nullcontext():
        try:
            return asyncio.run(simulate(seed, Path(folder), logged=logged))
        except Exception as error:  # noqa: BLE001 (a crash of the simulation is a finding, too)
            return Run(seed=seed, violations=[f"{type(error).__name__}: {error}"])


def soak(seeds: range, jobs: int) -> int:
    """All of `seeds` on `jobs` processes → how many violate something."""
    began, done, failed, crashes, said = time.monotonic(), 0, 0, 0, 0
    with ProcessPoolExecutor(jobs) as pool:
        for run in pool.map(run_seed, seeds, chunksize=AT_ONCE):
            done, crashes, said = done + 1, crashes + run.crashes, said + run.said
            if run.violations:
                failed += 1
                _say(f"seed {run.seed}: {'; '.join(run.violations[:3])}\n  see it: make soak SEED={run.seed}")
            if done % 500 == 0:
                _say(f"{done:,} of {len(seeds):,} seeds, {failed} failed")
    took = time.monotonic() - began
    _say(
        f"{done:,} seeds in {took:.0f} s on {jobs} processes: {crashes:,} crashes, {said:,} messages, "
        f"{failed} seeds with violations"
    )
    return failed


def finds(seed: int, bug: Mutant) -> Run | None:
    """The run with the bug, where it violates something and the same seed without the bug does not."""
    run = run_seed(seed, bug=bug)
    return run if run.violations and not run_seed(seed).violations else None


def first_found(bug: Mutant, most: int, pool: ProcessPoolExecutor) -> Run | None:
    """The first seed below `most` that finds the bug."""
    for seeds in _batches(most, 16):
        for run in pool.map(partial(finds, bug=bug), seeds):
            if run is not None:
                return run
    return None


def _batches(most: int, size: int) -> Iterator[range]:
    return (range(start, min(start + size, most)) for start in range(0, most, size))


def hunt(most: int, jobs: int) -> int:
    """Look for every mutant → how many were not found."""
    missed = 0
    with ProcessPoolExecutor(jobs) as pool:
        for bug in MUTANTS:
            found = first_found(bug, most, pool)
            missed += found is None
            what = f"seed {found.seed}: {found.violations[0]}" if found else f"NOT FOUND by {most} seeds"
            _say(f"{bug.name}: {bug.breaks}\n  {what}")
    _say(f"{len(MUTANTS) - missed} of {len(MUTANTS)} mutants found")
    return missed


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    parser.add_argument("--seed", type=int, help="this one only, with its log and all that happened")
    parser.add_argument("--mutants", action="store_true")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    if asked.seed is not None:
        run = run_seed(asked.seed, logged=True)
        _say(run)
        return bool(run.violations)
    if asked.mutants:
        return bool(hunt(min(asked.seeds, 400), asked.jobs))
    return bool(soak(range(asked.first, asked.first + asked.seeds), asked.jobs))


if __name__ == "__main__":
    sys.exit(main())
