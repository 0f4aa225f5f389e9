"""The keys of `windows` and `dependencies`, and what they become in the core."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from tocsin.config.fields import LABEL, Begins, Names, Section, Zone
from tocsin.incidents.dependencies import SETTLE, Dependency
from tocsin.incidents.hours import Cron
from tocsin.incidents.matching import pattern
from tocsin.incidents.windows import Window
from tocsin.ports import Duration


def _expressions(match: object) -> object:
    for label, expression in match.items() if isinstance(match, dict) else ():
        if not isinstance(label, str) or not LABEL.fullmatch(label):
            raise ValueError(f"{label!r} is not a label name")
        if isinstance(expression, str):
            pattern(expression)
    return match


Expressions = Annotated[dict[str, str], BeforeValidator(_expressions)]


class WindowSettings(Section):
    """Hours that come again, in which some alerts are not told. See tocsin.incidents.windows."""

    name: str = Field(min_length=1, description="stands in the reason")
    cron: Begins = Field(
        description="when it begins: minute hour day-of-month month day-of-week, e.g. 30 2 * * mon-fri"
    )
    lasts: Duration = Field(description="1m to 7d, and shorter than the time until it comes again")
    timezone: Zone | None = Field(default=None, description="of `cron`; default: the file's `timezone`")
    match: Expressions = Field(min_length=1, description="label → regular expression, anchored; every one must match")
    why: str = Field(default="", description="for who wonders why nothing was told")

    @model_validator(mode="after")
    def _usable(self) -> Self:
        self.window("UTC")
        return self

    def window(self, zone: str) -> Window:
        """As the core takes it; `zone` is the file's."""
        return Window(
            name=self.name, cron=Cron.parse(self.cron), lasts=self.lasts, zone=self.timezone or zone,
            match=self.match, why=self.why,
        )  # fmt: skip


class DependencySettings(Section):
    """Alerts that another alert explains: they are not told while it fires. See tocsin.incidents.dependencies."""

    match: Expressions = Field(min_length=1, description="the alert that waits: label → regular expression, anchored")
    depends_on: Expressions = Field(min_length=1, description="the alert that explains it; at least as severe")
    equal: Names = Field(default=(), description="labels that both must have, with the same value")
    settle: Duration = Field(
        default=SETTLE, ge=0, le=3600, description="what waited is told so long after the other's end, if it stays"
    )

    def dependency(self) -> Dependency:
        """As the core takes it."""
        return Dependency(match=self.match, depends_on=self.depends_on, equal=self.equal, settle=self.settle)
