"""What a decision about an incident depends on, the incident apart: `telling` puts it together, `policy` reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from tocsin.incidents.routes import Route
from tocsin.incidents.told import Destination, Told
from tocsin.model import Reason, Severity

PAGE: Final = Severity.P1
"""This and worse is told at once, everywhere."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mute:
    """Why an alert is not to be told: a silence, a window, a parent."""

    reason: Reason
    because: str
    until: datetime | None = None
    creation_only: bool = False
    """It holds back a first message, and says nothing about an incident that was told."""
    silence: str = ""
    """The id of the silence that it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """What a decision depends on, apart from the incident."""

    route: Route
    destination: Destination
    told: Told
    mute: Mute | None = None
    """Set when every firing member is muted; the mute of the worst one."""
    silences: tuple[str, ...] = ()
    """Of those mutes, the silences."""
    voice: Severity = Severity.P3
    """The worst severity among the members that are not muted."""
    hushed_until: datetime | None = None
    """When the first of its members' mutes ends."""
    budget_until: datetime | None = None
    """Set when the destination's budget has no message left for this incident: when it has one again."""
    contacts: Mapping[str, str] = field(default_factory=dict)
    """Names that an escalation may use → how they read in a sentence."""
