"""How Auth is set up: read from the stand-in's /settings over HTTP; what can't be read is unknown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from collectors.auth_logs.posture import switches
from tocsin.model import Blind
from tocsin.testing.supabase import FakeAuth

# Types of this folder's conftest, which a test can't import.
Auth = Any
POSTURE = "tocsin_auth_posture"


async def test_switches_are_gauges_and_a_change_is_seen(auth: Auth) -> None:
    """At most once per interval; between two looks the last answer stands."""
    auth.write(b"{}")
    async with FakeAuth() as supabase:
        auth.start(posture={"url": supabase.address, "api_key": supabase.api_key, "interval": 60})
        seen = await auth.poll()
        found = {sample.labels["setting"]: sample.value for sample in seen.of(POSTURE)}
        assert (found["mailer_autoconfirm"], found["disable_signup"]) == (0, 0)
        assert (found["external_email"], found["external_phone"]) == (1, 0)
        assert seen.value("tocsin_auth_log_up") == 1
        supabase._autoconfirm = True
        assert (await auth.poll(after=30)).value(POSTURE, setting="mailer_autoconfirm") == 0
        assert (await auth.poll(after=30)).value(POSTURE, setting="mailer_autoconfirm") == 1


async def test_what_can_not_be_read_is_unknown_and_hides_nothing_else(auth: Auth) -> None:
    """The log is read whatever Auth's HTTP does, and the other way round."""
    auth.write(b"{}")
    async with FakeAuth() as supabase:
        auth.start(posture={"url": supabase.address, "api_key": "wrong", "interval": 1})
        seen = await auth.poll()
        assert seen.value("tocsin_auth_log_up") == 1
        ((why, metrics),) = [(item.why, item.metrics) for item in seen.items if isinstance(item, Blind)]
        assert ("posture.api_key" in why, "wrong" in why, metrics) == (True, False, frozenset({POSTURE}))
        await auth.collector.close()
        auth.start(posture={"url": supabase.address, "api_key": supabase.api_key, "interval": 1}, source={"file": "no"})
        seen = await auth.poll()
        assert (seen.value("tocsin_auth_log_up"), seen.value(POSTURE, setting="mailer_autoconfirm")) == (0, 0)
        ((metrics,),) = [(item.metrics,) for item in seen.items if isinstance(item, Blind)]
        assert (POSTURE in metrics, "tocsin_auth_failures_total" in metrics) == (False, True)
        address = supabase.address
    seen = await auth.poll()
    assert (seen.of(POSTURE), any(address in why for why in seen.blind)) == ([], True)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"mailer_autoconfirm":"yes"}'])
def test_what_is_not_auths_settings_is_refused(body: bytes) -> None:
    """A portal's page, another server: no switch is off because of it."""
    with pytest.raises(ValueError, match="settings of Auth"):
        switches(body)


def test_names_and_number_of_switches_are_bounded() -> None:
    """A name that is none makes no series."""
    told = {"mailer_autoconfirm": True, "Weird Name": True, "text": "x", "external": {"google": True, "a b": True}}
    assert switches(json.dumps(told).encode()) == {"external_google": True, "mailer_autoconfirm": True}
    many = {"mailer_autoconfirm": True, "external": {f"p{n}": True for n in range(1000)}}
    assert len(switches(json.dumps(many).encode())) == 200
