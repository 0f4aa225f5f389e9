"""What is done on the console's pages: incidents are taken and closed, silences made and ended; no forged form."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import urlencode

import pytest

from tocsin.access.tokens import Scope

from .door import HERE
from .pages import HOSTILE, Admin, fires


async def test_an_incident_is_taken_and_closed(admin: Admin) -> None:
    """Under the name of who is signed in."""
    id = await fires(admin.port)
    taken = await admin.submit(f"/incidents/{id}/ack", f"/incidents/{id}")
    (incident,) = admin.port.pipeline.book.open
    assert (taken.status, taken.headers["location"]) == (303, f"/incidents/{id}?done=acked")
    assert incident.acked_by == "console on this host"
    await admin.submit(f"/incidents/{id}/resolve", f"/incidents/{id}", why="rolled back")
    assert "rolled back" in await admin.page(f"/incidents/{id}")


async def test_a_form_without_its_token_changes_nothing(admin: Admin) -> None:
    """Nor one from another site."""
    id = await fires(admin.port)
    bare = await admin.ask("POST", f"/incidents/{id}/ack", HERE, form=[])
    assert (bare.status, admin.port.pipeline.book.open[0].acked_by) == (403, "")


async def test_what_done_says_is_not_the_addresss_to_choose(admin: Admin) -> None:
    """A link can't put words into the console's mouth."""
    assert "Call this number" not in await admin.page("/?done=Call%20this%20number")


async def test_a_silence_is_made_after_its_preview_and_shows_what_it_hid(admin: Admin) -> None:
    """What it would hide is on the page that makes it; what it hid, on its own."""
    await fires(admin.port)
    typed = {"matchers": "service=~.+ alertname=~Api.*", "lasts": "2h", "why": HOSTILE}
    shown = await admin.page(f"/silences/new?{urlencode(typed)}")
    assert ("It hides 1 now, 0 in the last 30 days, including 1 P0" in shown, HOSTILE in shown) == (True, False)
    made = await admin.submit("/silences", f"/silences/new?{urlencode(typed)}", **typed)
    assert (made.status, made.headers["location"]) == (303, "/silences?done=silenced")
    await fires(admin.port, "ApiGone", service="web")
    (silence,) = admin.port.pipeline.book.silences.values()
    assert "1 incident<" in await admin.page("/silences")
    assert "ApiGone" in await admin.page(f"/silences/{silence.id}")
    await admin.submit("/silences/expire", "/silences", id=silence.id)
    ended = await admin.page("/silences")
    assert ("Ended, and hid something" in ended, silence.id in ended) == (True, True)
    assert "what it hid, " in await admin.page(f"/silences/{silence.id}")


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ({"matchers": "service=~(", "lasts": "2h", "why": "x"}, "not a regular expression"),
        ({"matchers": "service=api", "lasts": "2 hours", "why": "x"}, "write it like 30s, 5m or 1h30m"),
        ({"matchers": "service=api", "lasts": "2h", "why": " "}, "a silence needs a reason"),
        ({"matchers": "service='", "lasts": "2h", "why": "x"}, "No closing quotation"),
    ],
)
async def test_a_silence_that_is_not_meant_is_refused_where_it_was_typed(
    admin: Admin, typed: dict[str, str], says: str
) -> None:
    """With what to mend, and what was typed still there."""
    answer = await admin.submit("/silences", "/silences/new?matchers=service%3Dapi", **typed)
    assert (answer.status, says in answer.content.decode()) == (422, True)
    assert admin.port.pipeline.book.silences == {}


async def test_incidents_are_listed_worst_first_and_then_the_newest(admin: Admin) -> None:
    """Those that have ended come after them, however bad they were."""
    order = (("over", "P0"), ("old", "P1"), ("bad", "P0"), ("new", "P1"))
    for service, severity in order:
        await fires(admin.port, service=service, severity=severity)
        admin.port.clock.jump(60)
        if service == "over":
            (first,) = admin.port.pipeline.book.open
            await admin.submit(f"/incidents/{first.id}/resolve", f"/incidents/{first.id}", why="done")
    for page, expected in (("", ["bad", "new", "old"]), ("?state=all", ["bad", "new", "old", "over"])):
        text = await admin.page(f"/incidents{page}")
        assert re.findall(r"<code>service=(\w+)</code>", text) == expected


async def test_a_silence_is_ended_and_one_that_is_gone_is_said_on_the_page(admin: Admin) -> None:
    """With the list as it is now, and why nothing was done."""
    now = admin.port.clock.now()
    matcher = {"name": "service", "value": "api", "isRegex": False, "isEqual": True}
    ends = (now + timedelta(hours=1)).isoformat()
    body = {"matchers": [matcher], "startsAt": now.isoformat(), "endsAt": ends, "createdBy": "a", "comment": "b"}
    made = await admin.port.ask("POST", "/api/v2/silences", Scope.ALERTS_WRITE, json=body)
    id = made.json()["silenceID"]
    first = await admin.submit("/silences/expire", "/silences", id=id)
    second = await admin.submit("/silences/expire", "/silences", id="gone")
    assert (first.headers["location"], second.status) == ("/silences?done=expired", 409)
    assert ('role="alert"' in second.content.decode(), "Nothing is hidden." in second.content.decode()) == (True, True)
