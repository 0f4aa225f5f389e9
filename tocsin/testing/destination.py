"""A destination that remembers what it was told, and fails when a test says so.

`Channel` is the far end: it outlives the daemon, as Slack does. `FakeNotifier` is the way to it, with faults:

    channel = Channel()
    notifier = FakeNotifier(channel, clock)
    notifier.faults.append(Throttled("slow down", retry_after=3))    # the next send is refused so
    notifier.faults.append(LOST_ANSWER)                              # the next send arrives, and its answer is lost
    notifier.faults.append(HANGS)                                    # the next send never answers
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from tocsin.errors import EditLost, Uncertain
from tocsin.model import Action, IncidentState, Notification, Receipt, Severity
from tocsin.ports import Clock, Health

LOST_ANSWER: Final = Uncertain("the connection was reset after the request")
"""A fault: the message arrives, the answer does not."""
HANGS: Final = Uncertain("never answers")
"""A fault: nothing arrives and nothing comes back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """One call that arrived."""

    at: datetime
    id: str
    action: Action
    incident: str
    state: IncidentState
    severity: Severity
    revision: int
    text: str
    incidents: tuple[str, ...]
    states: tuple[IncidentState, ...] = ()
    """Of each of them."""
    on: str = ""
    """The message that it edited or replied to."""

    @property
    def thread(self) -> str:
        """The incident or storm that it belongs to."""
        return self.id.split(":", 1)[0]

    def state_of(self, incident: str) -> IncidentState:
        """As it was told of one of its incidents."""
        return self.states[self.incidents.index(incident)]


@dataclass
class Channel:
    """All that arrived, in its order."""

    said: list[Said] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)
    """Refs of messages that somebody removed."""

    def of(self, incident: str, *actions: Action) -> list[Said]:
        """What was said about an incident."""
        return [s for s in self.said if s.incident == incident and (not actions or s.action in actions)]

    def actions(self) -> list[str]:
        """What was said, in short: ["post", "edit", "resolve"]."""
        return [said.action.value for said in self.said]

    def find(self, id: str) -> str | None:
        """The ref of the message that carries this key."""
        return next((str(place) for place, said in enumerate(self.said) if said.id == id), None)

    def shows(self, incident: str) -> IncidentState | None:
        """What the incident's message shows; None where it has none, or somebody removed it."""
        posts = [
            str(place)
            for place, said in enumerate(self.said)
            if said.thread == incident and said.action is Action.POST and str(place) not in self.deleted
        ]
        if not posts:
            return None
        edits = [said for said in self.said if said.action is Action.EDIT and said.on == posts[-1]]
        return edits[-1].state if edits else self.said[int(posts[-1])].state

    def take(self, said: Said) -> str:
        self.said.append(said)
        return str(len(self.said) - 1)


class FakeNotifier:
    """ports.Notifier over a Channel."""

    def __init__(self, channel: Channel, clock: Clock, *, name: str = "pages") -> None:
        self.channel = channel
        self.name = name
        self.faults: deque[Exception | None] = deque()
        """One is used up by each send; None lets it through."""
        self.find_faults: deque[Exception | None] = deque()
        self.fault_of: Callable[[Notification], Exception | None] = lambda _: None
        """Asked once `faults` are used up."""
        self.find_fault_of: Callable[[Notification], Exception | None] = lambda _: None
        self.between: Callable[[str], None] = lambda _: None
        """Called before and after a message arrives: where a process may die."""
        self.asked: list[str] = []
        """Keys that were read back."""
        self.hung = asyncio.Event()
        """Set while a call hangs: nothing but the passing of time will end it."""
        self._clock = clock

    async def _hang(self) -> None:
        self.hung.set()
        await asyncio.get_running_loop().create_future()

    async def send(self, notification: Notification, parent: Receipt | None) -> Receipt:
        fault = self.faults.popleft() if self.faults else self.fault_of(notification)
        if fault is HANGS:
            await self._hang()
        on = "" if parent is None else parent.ref
        if isinstance(fault, EditLost) and on:
            self.channel.deleted.add(on)
        if fault is not None and fault is not LOST_ANSWER:
            raise fault
        if on in self.channel.deleted and notification.action is not Action.POST:
            raise EditLost(f"message {on} not found")
        incident = notification.incident
        self.between("before send")
        ref = self.channel.take(
            Said(
                at=self._clock.now(), id=notification.id, action=notification.action, incident=incident.id,
                state=incident.state, severity=incident.severity, revision=incident.revision,
                text=notification.because, incidents=tuple(each.id for each in notification.incidents), on=on,
                states=tuple(each.state for each in notification.incidents),
            )
        )  # fmt: skip
        self.between("after send")
        if fault is LOST_ANSWER:
            raise fault
        return self._receipt(notification, ref)

    async def find(self, notification: Notification, parent: Receipt | None) -> Receipt | None:
        self.asked.append(notification.id)
        fault = self.find_faults.popleft() if self.find_faults else self.find_fault_of(notification)
        if fault is HANGS:
            await self._hang()
        if fault is not None:
            raise fault
        ref = self.channel.find(notification.id)
        return None if ref is None else self._receipt(notification, ref)

    def _receipt(self, notification: Notification, ref: str) -> Receipt:
        return Receipt(
            notification=notification.id,
            notifier=self.name,
            incident=notification.incident.id,
            action=notification.action,
            at=self._clock.now(),
            destination=self.name,
            ref=ref,
            permalink=f"https://chat.example/{self.name}/{ref}",
        )

    async def check(self) -> Health:
        return Health(ok=True, what=self.name)

    async def close(self) -> None:
        return None
