"""Unit tests of rules, in promtool's format: the same file passes `promtool test rules` and `tocsin rules test`.

tests = read_unit_tests(path)                                  RuleError: every finding with its line
outcome = run_unit_tests(tests, load_rules(tests.rule_files), make_store=Store)
"""

from tocsin.rules.unit_tests.cases import AlertCase, ExpectedSample, ExprCase, InputSeries, UnitTest, UnitTestFile
from tocsin.rules.unit_tests.read import read_unit_tests
from tocsin.rules.unit_tests.run import CaseOutcome, FileOutcome, Store, Verdict, run_unit_tests

__all__ = [
    "AlertCase", "CaseOutcome", "ExpectedSample", "ExprCase", "FileOutcome", "InputSeries", "Store", "UnitTest",
    "UnitTestFile", "Verdict", "read_unit_tests", "run_unit_tests",
]  # fmt: skip
