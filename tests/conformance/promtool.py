"""Rule files and unit tests as promtool takes them: python -m tests.conformance.promtool ../shared/corpus/promtool

Every unit-test file of the corpus passes or fails as Prometheus' own tests say that promtool does; every rule file
loads or is refused, with the line that is wrong. `--promtool PATH` asks a real promtool as well; where its version
differs from that of the corpus, the reason is printed. Ends in `N passed, M failed, 0 skipped`: none ever is.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tocsin.errors import RuleError
from tocsin.rules import load_rules
from tocsin.rules.unit_tests import Verdict, read_unit_tests, run_unit_tests
from tocsin.series import Store

FOREVER: Final = 1e12


@dataclass(frozen=True)
class Case:
    """One thing that promtool is known to accept or refuse."""

    file: str
    passes: bool
    run: str = ""
    """Only the tests whose name matches."""
    ignore_unknown: bool = False
    line: int = 0
    """The line that is wrong, for a file that is refused."""
    peer_differs: str = ""
    """Why Debian's promtool 2.42 says something else."""

    def __str__(self) -> str:
        options = (f" --run={self.run!r}" if self.run else "") + (
            " --ignore-unknown-fields" if self.ignore_unknown else ""
        )
        return f"{self.file}{options}"


UNIT_TESTS: Final = (
    Case("unittest.yml", True, peer_differs="2.42 knows no native histograms in unit tests"),
    Case("long-period.yml", True),
    Case("bad-input-series.yml", False, line=3),
    Case("bad-promql.yml", False, line=12),
    Case("bad-rules-syntax-test.yml", False),
    Case("bad-rules-error-test.yml", False),
    Case("failing.yml", False, line=20),
    Case("at-modifier-test.yml", True),
    Case("negative-offset-test.yml", True),
    Case("no-test-group-interval.yml", True, peer_differs="2.42 wants an interval in every test"),
    Case("start-time-test.yml", True, peer_differs="2.42 knows no start_timestamp"),
    Case("rules_run.yml", False, line=26),
    Case("rules_run.yml", True, run="correct"),
    Case("rules_run.yml", False, run="wrong", line=26),
    Case("rules_run_extrafields.yml", False),
    Case("rules_run_extrafields.yml", True, ignore_unknown=True),
    Case("rules_run_fuzzy.yml", False, line=34),
    Case("rules_run_fuzzy.yml", True, run="correct", peer_differs="2.42 knows no fuzzy_compare"),
    Case("rules_run_fuzzy.yml", False, run="wrong", line=34),
    Case("rules_run_no_fuzzy.yml", False, line=15),
)
RULE_FILES: Final = (
    Case("rules.yml", True),
    Case("rules_duplicates.yml", True),
    Case("at-modifier.yml", True),
    Case("negative-offset.yml", True),
    Case("bad-rules-error.yml", True),
    Case("rules-bad.yml", False, line=12),
    Case("bad-rules-syntax.yml", False, line=7),
    Case("rules_extrafields.yml", False, line=7),
    Case("rules_extrafields.yml", True, ignore_unknown=True),
)
RULEFMT: Final = (
    Case("test.yaml", True),
    Case("test_aliases.yaml", True),
    Case("utf-8_annotation.good.yaml", True, peer_differs="2.42 knows no UTF-8 names"),
    Case("utf-8_lname.good.yaml", True, peer_differs="2.42 knows no UTF-8 names"),
    Case("legacy_validation_annotation.good.yaml", True),
    Case("legacy_validation_annotation.bad.yaml", False, line=7),
    Case("bad_expr.bad.yaml", False, line=5),
    Case("bad_field.bad.yaml", False, line=8),
    Case("duplicate_grp.bad.yaml", False, line=3),
    Case("invalid_label_name.bad.yaml", False, line=7),
    Case("invalid_record_name.bad.yaml", False, line=4),
    Case("no_rec_alert.bad.yaml", False, line=4),
    Case("noexpr.bad.yaml", False, line=4),
    Case("record_and_alert.bad.yaml", False, line=4),
    Case("record_and_for.bad.yaml", False, line=6),
    Case("record_and_keep_firing_for.bad.yaml", False, line=6, peer_differs="2.42 knows the key, not the check"),
)
"""The good ones are read with UTF-8 names, those named `legacy_` with the classic ones, as in Prometheus' test."""


@dataclass(frozen=True)
class Answer:
    """What this program says of a case."""

    passes: bool
    lines: frozenset[int] = frozenset()
    said: str = ""


def load_answer(path: Path, case: Case) -> Answer:
    """Does the rule file load?"""
    names = "legacy" if path.name.startswith("legacy_") else "utf8"
    try:
        load_rules([path], names=names, ignore_unknown=case.ignore_unknown)
    except RuleError as error:
        return Answer(False, frozenset(finding.line for finding in error.findings), str(error))
    return Answer(True)


def unit_test_answer(path: Path, case: Case) -> Answer:
    """Do the unit tests pass?"""
    try:
        tests = read_unit_tests(path)
        groups = load_rules(tests.rule_files, ignore_unknown=case.ignore_unknown)
    except RuleError as error:
        lines = frozenset(finding.line for finding in error.findings if Path(finding.file) == path)
        return Answer(False, lines, str(error))
    outcome = run_unit_tests(
        tests,
        groups,
        lambda: Store(retention=FOREVER),
        chosen=lambda name: bool(re.search(case.run, name)),
    )
    failed = outcome.of(Verdict.FAILED)
    said = "\n".join(f"{found.file}:{found.line}: {found.what}\n{found.detail}" for found in failed)
    return Answer(outcome.passed, frozenset(f.line for f in failed), said)


def judged(case: Case, answer: Answer) -> str:
    """Empty when the answer is promtool's, at the line that is wrong; else what is amiss."""
    if answer.passes != case.passes:
        return (
            f"promtool {'accepts' if case.passes else 'refuses'} it, this does not agree: {answer.said or 'accepted'}"
        )
    if case.line and case.line not in answer.lines:
        return f"refused, but not at line {case.line}: {answer.said}"
    if not case.passes and not answer.said:
        return "refused without a word"
    return ""


def cases(folders: list[Path]) -> Iterator[tuple[Path, Case, bool]]:
    """(path, case, whether it is a unit test) of everything known in the folders."""
    for folder in folders:
        known = [(case, True) for case in UNIT_TESTS] + [(case, False) for case in (*RULE_FILES, *RULEFMT)]
        for case, is_test in known:
            if (path := folder / case.file).is_file():
                yield path, case, is_test


def unknown(folders: list[Path]) -> list[Path]:
    """Files of the folders that no case names: nobody would notice if they broke."""
    named = {path for path, _, _ in cases(folders)}
    return [path for folder in folders for path in sorted(folder.glob("*.y*ml")) if path not in named]


def peer_answer(promtool: Path, path: Path, case: Case, is_test: bool) -> bool | None:
    """What a real promtool says; None where it has no such option."""
    if case.run or case.ignore_unknown:
        return None
    command = [promtool, "test" if is_test else "check", "rules", path]
    return subprocess.run(command, capture_output=True).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="+", type=Path, help="the corpus; its sibling `rulefmt` is taken as well")
    parser.add_argument("--promtool", type=Path, help="a real promtool to ask as well")
    options = parser.parse_args()
    siblings = [folder.parent / "rulefmt" for folder in options.folder if (folder.parent / "rulefmt").is_dir()]
    folders = list(dict.fromkeys([*options.folder, *siblings]))
    passed = 0
    failures = [f"{path}: no case names this file" for path in unknown(folders)]
    for path, case, is_test in cases(folders):
        answer = unit_test_answer(path, case) if is_test else load_answer(path, case)
        amiss = judged(case, answer)
        if amiss:
            failures.append(f"{case}: {amiss}")
        passed += not amiss
        peer = peer_answer(options.promtool, path, case, is_test) if options.promtool else None
        note = (
            ""
            if peer in (None, case.passes)
            else f"   (the promtool asked differs: {case.peer_differs or 'unexplained'})"
        )
        print(f"{'FAIL' if amiss else 'ok  '} {case}{note}")
    for failure in failures:
        print(f"\n{failure}", file=sys.stderr)
    print(f"{passed} passed, {len(failures)} failed, 0 skipped")
    return 1 if failures or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
