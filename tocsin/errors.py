"""What went wrong, and what the caller does next.

Callers match on the class and read its attributes; nobody parses a message. A class' docstring is what an operator
reads when nothing more specific is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tocsin.model import Seconds


class TocsinError(Exception):
    """Something in Tocsin failed."""

    def __str__(self) -> str:
        return super().__str__() or (type(self).__doc__ or type(self).__name__).strip().splitlines()[0]


# Input ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing wrong with a file: where, what, and how to mend it."""

    file: str
    line: int
    """From 1; 0 where the file as a whole is meant."""
    what: str
    mend: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.what}" + (f"; {self.mend}" if self.mend else "")


class InputError(TocsinError):
    """The input can't be used; each finding says where and how to mend it."""

    def __init__(self, *findings: Finding) -> None:
        super().__init__("\n".join(str(finding) for finding in findings))
        self.findings = findings

    @classmethod
    def at(cls, file: str | Path, line: int, what: str, mend: str = "") -> InputError:
        return cls(Finding(file=str(file), line=line, what=what, mend=mend))


class ConfigError(InputError):
    """The configuration can't be used."""


class RuleError(InputError):
    """A rule file can't be used."""


class PromQLError(TocsinError):
    """The expression can't be parsed."""

    def __init__(self, message: str, *, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position
        """Offset in characters into the expression, where known."""


class EvaluationError(TocsinError):
    """The expression can't be evaluated on this data: its result is unknown, not empty."""


# Collecting ----------------------------------------------------------------------------------------------------------


class CollectError(TocsinError):
    """The collector could not look: what it watches is unknown."""


class MissedDeadline(CollectError):
    """The source did not answer within the collector's deadline."""


# Series and state ----------------------------------------------------------------------------------------------------


class SeriesLimit(TocsinError):
    """The store holds as many series as it may; the message names the metric that was refused."""


class StateError(TocsinError):
    """The state store did not take the write; it is tried again, and alerting goes on from memory."""


class StaleClaim(StateError):
    """Another worker holds this row by now: leave it alone."""


class Deposed(StateError):
    """Another replica leads by now, so that nothing was written: neither decide nor send."""


# Delivery ------------------------------------------------------------------------------------------------------------


class DeliveryError(TocsinError):
    """The notifier could not confirm delivery."""


class Refused(DeliveryError):
    """The destination will never accept this from us: fail over and tell the owner."""

    def __init__(self, message: str, *, mend: str = "") -> None:
        super().__init__(message)
        self.mend = mend
        """What the owner of the destination does about it."""


class TooLarge(DeliveryError):
    """The destination refuses this form of the message: send a plainer one."""


class EditLost(DeliveryError):
    """The message to edit is gone: post anew and link the old one."""


class Throttled(DeliveryError):
    """Too fast for the destination: wait, then send again."""

    def __init__(self, message: str, *, retry_after: Seconds) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(DeliveryError):
    """The destination certainly did not take it: send again after a while."""


class Uncertain(DeliveryError):
    """It may have been delivered: read back before sending again."""
