"""What must hold in a simulation, whatever happened. Each check gives what is violated, a line each.

They are written from what arrived at the far end and from the rows of the store, not from what the code under test
believes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

import sqlalchemy as sa

from tocsin.model import Action, AlertState, IncidentState, Labels, Reason, Severity
from tocsin.state import Claim
from tocsin.state.account import balance
from tocsin.state.schema import Instant, decisions, notifications
from tocsin.testing.destination import Channel, Said
from tocsin.testing.world import World

WHOLE: Final = (Action.POST, Action.DIGEST)
_EARLIER: Final = notifications.alias("earlier")
_CLAIMED: Final = notifications.alias("claimed")
_MORE_URGENT: Final = sa.select(
    notifications.c.id, sa.select(_CLAIMED.c.lane).where(_CLAIMED.c.id == sa.bindparam("id")).scalar_subquery()
).where(
    notifications.c.notifier == sa.bindparam("to"),
    notifications.c.severity.in_(("P0", "P1")),
    notifications.c.state == "queued",
    notifications.c.action != Action.DIGEST,  # what a silence hid wakes nobody
    notifications.c.not_before <= sa.bindparam("now", type_=Instant()),
    ~sa.exists().where(
        _EARLIER.c.incident == notifications.c.incident, _EARLIER.c.notifier == notifications.c.notifier,
        _EARLIER.c.seq < notifications.c.seq, _EARLIER.c.state.in_(("queued", "claimed")), _EARLIER.c.action != "edit",
    ),
)  # fmt: skip
"""Pages that are due and free to go, beside what was claimed instead; with the lane of that."""
_SPOKE: Final = decisions.alias("spoke")
_SILENCED: Final = (
    sa.select(decisions.c.incident, decisions.c.notifier)
    .where(
        decisions.c.reason == Reason.SILENCED_BY,
        ~sa.exists().where(
            _SPOKE.c.incident == decisions.c.incident, _SPOKE.c.notifier == decisions.c.notifier,
            _SPOKE.c.action != Action.HOLD,
        ),
    )
    .distinct()
)  # fmt: skip
"""Of whom a silence held back all there was to say."""
_KEPT: Final = sa.select(notifications.c.incident, notifications.c.notifier).where(
    notifications.c.state == "queued", notifications.c.action.in_((Action.RESOLVE, Action.POST))
)


async def order(world: World, claims: Iterable[Claim]) -> list[str]:
    """P0 is never behind P3: nothing more urgent was due for the same destination, and free to go."""
    found = []
    for claim in claims:
        row = claim.notification
        if row.severity.rank < Severity.P2.rank:
            continue
        asked = {"to": row.notifier, "now": world.clock.now(), "id": row.id}
        async with world.state.reading() as connection:
            more = (await connection.execute(_MORE_URGENT, asked)).all()
        # A reply of low severity may go first where a page of the same incident waits behind it.
        if waiting := [id for id, lane in more if lane >= 4]:
            found.append(f"{row.id} went before {waiting}")
    return found


async def account(world: World) -> list[str]:
    """The sums balance: of each incident and destination the store says what came of it."""
    found = await balance(world.state, world.clock.now())
    return [] if found.balances else [f"{found.text()}: {found.lost}"]


def unknown_is_not_ok(world: World) -> list[str]:
    """What can't be seen has not ended: a frozen alert is a firing member of an open incident."""
    return [
        f"{alert.labels} can't be seen, and was taken to have ended"
        for alert in world.firing.values()
        if alert.frozen_since is not None and not _holders(world, alert.id)
    ]


def firing_is_told(world: World, may_be_held: Callable[[Labels], bool]) -> Iterator[str]:
    """Once it is calm, what fires is known as firing at some destination."""
    told: dict[str, dict[str, list[Said]]] = {}
    for name, channel in world.channels.items():
        for said in _stories(channel):
            for about in said.incidents:
                told.setdefault(about, {}).setdefault(name, []).append(said)
    for alert in world.firing.values():
        holders = _holders(world, alert.id)
        if not holders:
            yield f"{alert.labels} fires and is in no open incident"
        for incident in holders:
            if world.book.files[incident].incident.severity is Severity.P3 or may_be_held(alert.labels):
                continue  # it waits for its digest, or is explained
            stories = told.get(incident, {}).values()
            if not any(_believed(story, incident) not in (None, IncidentState.RESOLVED) for story in stories):
                yield f"{incident} ({alert.labels}) fires and nobody knows: {list(stories)}"


def _holders(world: World, alert: str) -> list[str]:
    return [
        incident.id
        for incident in world.book.open
        if any(member.id == alert and member.state is AlertState.FIRING for member in incident.members)
    ]


async def the_end(world: World, gone: Collection[str]) -> list[str]:
    """After everything recovered: nothing is left over, nothing was said twice, every debt is paid.

    `gone` are destinations that were not configured for a while: others were told the end in their place; or it waits
    for them to come back, where the incident had left the book before they were gone.
    """
    found = []
    async with world.state.reading() as connection:
        kept = {(row.incident, row.notifier) for row in await connection.execute(_KEPT)}
        silenced = [(row.incident, row.notifier) for row in await connection.execute(_SILENCED)]
    if world.firing or world.book.open:
        found.append(f"still open: {[incident.id for incident in world.book.open]}")
    for name, channel in world.channels.items():
        found += _said_twice(name, channel.said)
        for incident in {each for said in _stories(channel) for each in said.incidents}:
            if (incident, name) not in kept or name in world.plan.destinations:
                found += _debt(world, name, incident, gone)
    for left in await world.state.outbox.waiting(world.clock.now()):
        if left.notifier not in world.plan.destinations:
            continue  # in case it comes back
        found.append(f"{left.count} rows wait for {left.notifier}, {left.dead} are dead")
    found += [each for incident, name in silenced for each in _revealed(world, name, incident, gone)]
    return [*found, *await account(world), *await world.state.check()]


def _revealed(world: World, name: str, incident: str, gone: Collection[str]) -> Iterator[str]:
    """Of what a silence held back, something is heard in the end: by a message of its own, or what it hid is told."""
    for other, channel in world.channels.items():
        for said in channel.said:
            if incident in said.incidents and (other == name or name in gone or f":{name}:" in said.id):
                return
    if name in world.plan.destinations:  # else what it hid waits for it to come back
        yield f"{incident} was silenced, and {name} never heard of it"


def _said_twice(name: str, said: list[Said]) -> Iterator[str]:
    """No key arrives twice, and no incident is posted twice, unless somebody deleted its message."""
    keys = Counter(each.id for each in said if each.action is not Action.EDIT)
    yield from (f"{name} heard {key} {times} times" for key, times in keys.items() if times > 1)
    posts = Counter(each.thread for each in said if each.action is Action.POST and not each.id.endswith("~again"))
    yield from (f"{name} got {times} posts of {thread}" for thread, times in posts.items() if times > 1)


def _debt(world: World, name: str, incident: str, gone: Collection[str]) -> Iterator[str]:
    """Whoever was told that it fires is told that it ended, and its message shows it."""
    story = _about(world.channels[name], incident)
    if name in gone and _believed(story, incident) is IncidentState.RESOLVED:
        return  # its message can't be edited any more
    heirs = [_about(channel, incident) for other, channel in world.channels.items() if other != name]
    if name in gone and any(_believed(heir, incident) is IncidentState.RESOLVED for heir in heirs):
        return
    threads = {said.thread for said in story}
    # Where it was refused from then on, its failover was told, and told the end.
    took_over = [
        heir for heir in heirs
        if any(said.thread in threads and f":{name}:" in said.id and ">" in said.id for said in heir)
    ]  # fmt: skip
    shown = world.channels[name].shows(incident)
    if shown not in (None, IncidentState.RESOLVED) and not took_over:
        yield f"the message of {incident} at {name} shows {shown}"
    if _believed(story, incident) is IncidentState.RESOLVED:
        return
    if not any(_believed(heir, incident) is IncidentState.RESOLVED for heir in took_over):
        yield f"{name} was never told the end of {incident}: {[(s.id, s.state.value) for s in story]}"


def _about(channel: Channel, incident: str) -> list[Said]:
    return [said for said in _stories(channel) if incident in said.incidents]


def _stories(channel: Channel) -> list[Said]:
    """All but what silences hid: that is told of the past, and what fires has a message of its own."""
    return [said for said in channel.said if ":ended:" not in said.id]


def _believed(story: list[Said], incident: str) -> IncidentState | None:
    """What a reader believes of an incident: open while any thread about it says so. None: there is none.

    An edit rings nobody, so it says nothing here, and only a reply "resolved" or a whole message ends an incident. A
    storm's summary is read for what it shows.
    """
    threads = {
        said.thread: said.state_of(incident)
        for said in story
        if said.action in WHOLE
        or said.thread != incident
        or (said.action is Action.RESOLVE and said.state is IncidentState.RESOLVED)
        or (said.action not in (Action.EDIT, Action.RESOLVE) and said.state is not IncidentState.RESOLVED)
    }
    return min(threads.values(), key=lambda state: state is IncidentState.RESOLVED, default=None)
