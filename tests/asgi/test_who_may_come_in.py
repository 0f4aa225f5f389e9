"""What stays closed where nobody says who may come in, and what a public route opens."""

from __future__ import annotations

from datetime import datetime

import pytest
from prometheus_client import CollectorRegistry

from tests.asgi.alone import Client, nothing, ok, scope
from tests.asgi.frameworks import Kept
from tocsin.access.door import Headers
from tocsin.access.verdicts import Reason, Unproven
from tocsin.asgi import Exposition, Lines, protect
from tocsin.asgi.access import public_route
from tocsin.asgi.measures import measures_of
from tocsin.errors import InputError


async def test_metrics_are_for_who_has_the_token() -> None:
    """And everything else passes."""
    registry = CollectorRegistry()
    measures_of(registry).waiting.set(3)
    layer = Exposition(ok, "a token that is long", registry=registry)
    answers = []
    asked = [
        ("/metrics", b""), ("/metrics", b"Basic a token that is long"), ("/metrics", b"Bearer a token that is longer"),
        ("/metrics", b"Bearer a token that is long"), ("/metrics", b"bearer a token that is long"), ("/other", b""),
    ]  # fmt: skip
    for path, token in asked:
        client = Client()
        await layer(scope(path, headers=[(b"authorization", token)]), nothing, client.send)
        answers.append((client.status, b"tocsin_http_requests_waiting 3.0" in client.said[1]["body"]))
    assert answers == [(401, False)] * 3 + [(200, True)] * 2 + [(200, False)]


def test_an_application_that_is_not_told_who_may_come_in_does_not_start() -> None:
    """A forgotten variable must not open it."""
    for environment in ({}, {"TOCSIN_APP_SUPABASE_URL": "https://x.supabase.co"}):
        with pytest.raises(InputError, match="TOCSIN_APP_"):
            protect(ok, environment=environment, registry=CollectorRegistry())


def test_public_routes_are_read_strictly() -> None:
    """A method, a path, a folder; nothing that would open more than it says."""
    assert public_route("/healthz").covers("GET", "/healthz")
    assert public_route("POST /hooks/in").covers("POST", "/hooks/in")
    assert not public_route("POST /hooks/in").covers("GET", "/hooks/in")
    assert public_route("/static/*").covers("GET", "/static/a/b.css")
    assert not public_route("/static/*").covers("GET", "/static/../secret")
    for bad in ("healthz", "/*", "/a*b", "get /a", "/a*"):
        with pytest.raises(ValueError, match=r"\S"):
            public_route(bad)


class Nobody:
    """A gate of one's own that counts whom it knows: nobody."""

    def __len__(self) -> int:
        return 0

    async def admit(self, headers: Headers, now: datetime) -> Unproven:
        return Unproven(reason=Reason.NO_CREDENTIAL, because="nobody comes in")


async def test_a_gate_that_knows_nobody_is_one() -> None:
    """An empty one, which Python calls false: not the gate of the variables in its stead, and least of all none."""
    application = protect(
        ok, gate=Nobody(), environment={"TOCSIN_APP_SUPABASE_URL": "off"}, registry=CollectorRegistry(),
        lines=Lines(Kept()),
    )  # fmt: skip
    client = Client()
    await application(scope("/"), nothing, client.send)
    assert client.status == 401
