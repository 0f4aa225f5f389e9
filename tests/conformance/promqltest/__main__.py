"""Runs promqltest scripts: `python -m tests.conformance.promqltest FILE… [--strict] [-v]`.

Ends in `N passed, M failed, 0 skipped`: none ever is. Exit 1 when something failed.
--strict also checks annotations, error messages and order where a script asserts them.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.conformance.promqltest.check import Mismatch, check
from tests.conformance.promqltest.data import Loaded
from tests.conformance.promqltest.script import Clear, Load, read


@dataclass
class Tally:
    """How the evals of some scripts fared."""

    passed: int = 0
    failures: list[str] = field(default_factory=list)


def run(paths: list[Path], *, strict: bool) -> Tally:
    """Every eval of every script."""
    tally = Tally()
    for path in paths:
        loaded = Loaded()
        for command in read(path):
            if isinstance(command, Clear):
                loaded.clear()
            elif isinstance(command, Load):
                loaded.load(command)
            else:
                where = f"{command.file}:{command.line}: {command.expression}"
                try:
                    check(command, loaded, strict=strict)
                except Mismatch as error:
                    tally.failures.append(f"{where}\n    {error}")
                # A crash of the engine is a failure of this eval, not the end of the run.
                except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                    tally.failures.append(f"{where}\n    crashed: {type(error).__name__}: {error}")
                else:
                    tally.passed += 1
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.promqltest", description=__doc__)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--strict", action="store_true", help="annotations, error messages and order too")
    options = parser.parse_args()
    tally = run(options.paths, strict=options.strict)
    for failure in tally.failures:
        print(failure)
    print(f"{tally.passed} passed, {len(tally.failures)} failed, 0 skipped")
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
