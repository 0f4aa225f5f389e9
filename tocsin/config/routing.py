"""The keys of `routes` and `digest`, and what they become in the core."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from tocsin.config.fields import LABEL, Begins, Names, Section, WallTime, Zone, one_or_many
from tocsin.incidents.hours import Cron, Hours
from tocsin.incidents.matching import pattern
from tocsin.incidents.routes import Digest, Escalation, Route
from tocsin.model import Mention, Severity
from tocsin.ports import Duration

BROADCASTS: Final = ("here", "channel", "everyone")
"""Mentions that every destination knows."""


class DigestSettings(Section):
    """When a digest is sent."""

    at: WallTime = Field(default=time(9), description="time of day, e.g. 09:00")
    timezone: Zone | None = Field(default=None, description="default: the file's `timezone`")


class EscalationSettings(Section):
    """Whom to tell when nobody has acknowledged."""

    after: Duration = Field(gt=0, description="counted from the incident's first message")
    to: Names = Field(min_length=1, description="notifiers, or names in a notifier's `mentions`")


class HoursSettings(Section):
    """When a route tells. See tocsin.incidents.hours."""

    cron: Begins = Field(
        description="when they begin: minute hour day-of-month month day-of-week, e.g. 0 9 * * mon-fri"
    )
    lasts: Duration = Field(description="1m to 7d, and shorter than the time until they come again")
    timezone: Zone | None = Field(default=None, description="of `cron`; default: the file's `timezone`")

    @model_validator(mode="after")
    def _usable(self) -> Self:
        self.hours("UTC")
        return self

    def hours(self, zone: str) -> Hours:
        """As the core takes it; `zone` is the file's."""
        return Hours(cron=Cron.parse(self.cron), lasts=self.lasts, zone=self.timezone or zone)


class RouteSettings(Section):
    """Who is told about which alerts. See tocsin.incidents.routes for how routes are tried."""

    name: str = Field(default="", description="default: what it matches; incidents remember it, so keep it")
    match: dict[str, str] = Field(
        default_factory=dict, description="label → regular expression, anchored; every one must match"
    )
    notify: Names | None = Field(default=None, description="names of notifiers; [] tells nobody")
    group_by: Names | None = Field(default=None, description='labels that make an incident; ["..."]: each alert alone')
    digest: Literal["daily"] | DigestSettings | None = Field(
        default=None, description="`daily`, or {at: 09:00, timezone: …}: P2 and P3 wait for it; P0 and P1 never wait"
    )
    escalate: Annotated[tuple[EscalationSettings, ...], BeforeValidator(one_or_many)] | None = Field(
        default=None, description="steps, in the order of their `after`"
    )
    mentions: Names | None = Field(default=None, description="whom the first message wakes: here, or names")
    repeat: Duration | None = Field(default=None, gt=0, description="remind this often until somebody acknowledges")
    flap_window: Duration | None = Field(
        default=None, ge=0, description="what fires again within it reopens its incident; default: 10m"
    )
    hours: Annotated[tuple[HoursSettings, ...], BeforeValidator(one_or_many)] | None = Field(
        default=None, description="it tells only then; what fires at other times waits until they begin; P0 too"
    )
    continue_: bool = Field(default=False, alias="continue", description="also try the routes below")
    routes: tuple[RouteSettings, ...] = Field(default=(), description="tried once this one matches; they inherit")

    @model_validator(mode="after")
    def _usable(self) -> Self:
        for label, expression in self.match.items():
            if not LABEL.fullmatch(label):
                raise ValueError(f"match: {label!r} is not a label name")
            try:
                regex = pattern(expression)
            except ValueError as error:
                raise ValueError(
                    f"match: {label}: {error}; to match it as it is, escape signs such as . and +"
                ) from None
            if label == "severity" and not any(regex.fullmatch(severity) for severity in Severity):
                known = ", ".join(Severity)
                raise ValueError(f"match: severity {expression!r} matches no severity; there are {known}")
        self.route(Digest(), "UTC")
        return self

    def route(self, digest: Digest, zone: str) -> Route:
        """As the core takes it; `digest` is what `digest: daily` means, `zone` the file's."""
        own = self.digest
        if isinstance(own, DigestSettings):
            digest = Digest(at=own.at, zone=own.timezone or digest.zone)
        escalate = None
        if self.escalate is not None:
            escalate = tuple(Escalation(after=step.after, to=step.to) for step in self.escalate)
        return Route(
            name=self.name,
            match=self.match,
            notify=self.notify,
            group_by=self.group_by,
            digest=digest if own is not None else None,
            escalate=escalate,
            mentions=None if self.mentions is None else tuple(mention(name) for name in self.mentions),
            repeat=self.repeat,
            flap_window=self.flap_window,
            hours=None if self.hours is None else tuple(each.hours(zone) for each in self.hours),
            continue_=self.continue_,
            routes=tuple(route.route(digest, zone) for route in self.routes),
        )


def mention(name: str) -> Mention:
    """Who a name in a route is: everybody there, or a name that a notifier's `mentions` knows."""
    return Mention(kind=name) if name in BROADCASTS else Mention(kind="user", id=name)
