"""What `tocsin check` looks at, beyond what the configuration says by itself.

A check is a function of a `Subject` that yields remarks. Each module has its own tuple of them (`CHECKS`); to add a
check, write the function and name it there.
"""

from __future__ import annotations

from collections.abc import Iterator

from tocsin.cli.inspection import content, rules, surroundings
from tocsin.cli.inspection.subject import Check, Remark, Subject, read_subject
from tocsin.config import Config

CHECKS: tuple[Check, ...] = (*rules.CHECKS, *content.CHECKS, *surroundings.CHECKS)

__all__ = ["CHECKS", "Remark", "Subject", "inspect"]


def inspect(config: Config) -> tuple[Subject, tuple[Remark, ...]]:
    """What was looked at, and everything there is to remark: findings first, each sort in the order of the files."""
    subject, unreadable = read_subject(config)
    remarks = [*unreadable, *_all(subject)]
    unique = dict.fromkeys(remarks)
    return subject, tuple(sorted(unique, key=lambda r: (r.is_warning, r.finding.file, r.finding.line)))


def _all(subject: Subject) -> Iterator[Remark]:
    yield from (Remark(finding=finding, is_warning=True) for finding in subject.config.warnings)
    for check in CHECKS:
        yield from check(subject)
