"""What is an error and what is none, whose matter one is, what is masked of it, and who is told."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import httpx
import pytest
import requests
from prometheus_client import CollectorRegistry

from tests.asgi.alone import Client, nothing, nowhere, scope
from tests.asgi.frameworks import Kept
from tocsin.asgi import ErrorReport, Errors, Lines
from tocsin.asgi.errors.category import Categories
from tocsin.asgi.errors.scrub import scrubbed
from tocsin.asgi.measures import measures_of


def test_categories_are_by_type_then_by_what_it_came_from_then_by_status() -> None:
    """One case of each of the seven, and of what a mapping adds."""

    class Quota(Exception): ...

    wrapped = RuntimeError("no answer")
    wrapped.__cause__ = sqlite3.OperationalError("locked")
    denied = type("HTTPException", (Exception,), {"status_code": 403})("no")
    categories = Categories({Quota: "quota"})
    cases = [
        (ConnectionRefusedError(), 500), (TimeoutError(), 500), (wrapped, 500), (denied, 403), (None, 404), (None, 422),
        (KeyError("x"), 500), (None, 503), (Quota(), 500),
    ]  # fmt: skip
    assert [categories.of(error, status) for error, status in cases] == [
        "dependency", "timeout", "database", "auth", "client", "validation", "bug", "dependency", "quota",
    ]  # fmt: skip


def test_a_clients_timeout_is_a_timeout_before_it_is_of_a_package() -> None:
    """Unless the mapping says otherwise of the package: what is added goes before what is known."""
    late = [httpx.ReadTimeout("late"), requests.exceptions.ConnectTimeout("late"), httpx.ConnectError("refused")]
    assert [Categories().of(error) for error in late] == ["timeout", "timeout", "dependency"]
    assert [Categories({"httpx.*": "mail"}).of(error) for error in late] == ["mail", "timeout", "mail"]


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://app:hunter2@db/app", "Authorization: Bearer abcdefghijkl", "api_key='hunter2'", "ana@example.com",
        "Key (phone)=(12345) already exists", "card 4111 1111 1111 1111", "call +43 660 1234567",
        "sk_live_abcdefghij123456", "<anà.müller@exämple.de>", "the secret key: 'hunter2'",
        "https://hooks.slack.com/services/T0/B0/abcdefghij", "-----BEGIN EC PRIVATE KEY-----\nabcdefghij",
        "IBAN DE89 3704 0044 0532 0130 00", "Failing row contains (1, ana, secret)",
    ],
)  # fmt: skip
def test_secrets_and_personal_data_are_masked(text: str) -> None:
    """What an exception's text quotes."""
    kept = scrubbed(text)
    assert "***" in kept
    secrets = ("hunter2", "abcdefghij", "ana", "müller", "12345", "4111", "660", "3704")
    assert [secret for secret in secrets if secret in kept] == []


@pytest.mark.parametrize("text", ["division by zero", "2026-03-01 12:00:00.123456", "row 17 of 42", "0x7f2dcc5ebca0"])
def test_what_tells_nothing_of_anybody_stays(text: str) -> None:
    """A log that masks everything helps nobody."""
    assert scrubbed(text) == text


async def test_a_cancelled_request_and_a_client_that_left_are_no_errors() -> None:
    """Nothing is logged or counted, and the cancellation goes on."""
    kept, registry = Kept(), CollectorRegistry()
    from starlette.requests import ClientDisconnect

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise {"/cancelled": asyncio.CancelledError, "/left": ClientDisconnect}[scope["path"]]

    async def broken(message: Any) -> None:
        raise BrokenPipeError

    errors = Errors(app, measures=measures_of(registry), lines=Lines(kept))
    with pytest.raises(asyncio.CancelledError):
        await errors(scope("/cancelled"), nothing, nowhere)
    await errors(scope("/left"), nothing, nowhere)
    await errors(scope("/left"), nothing, broken)
    assert kept.lines == []
    assert [sample for family in registry.collect() for sample in family.samples if "errors_total" in sample.name] == []


async def test_an_observer_that_breaks_does_not_break_the_answer() -> None:
    """The others are told, and the client is answered."""
    told: list[ErrorReport] = []

    def breaks(report: ErrorReport) -> None:
        raise RuntimeError("no network")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("x")

    client, kept = Client(), Kept()
    errors = Errors(app, measures=measures_of(CollectorRegistry()), lines=Lines(kept), observers=[breaks, told.append])
    await errors(scope("/"), nothing, client.send)
    assert (client.status, len(told), len(kept.of("request.observer_failed"))) == (500, 1, 1)


async def test_a_5xx_of_the_applications_own_is_logged_and_left_as_it_is() -> None:
    """There is no stack to show; its status and route name it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 503, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"back at noon"})

    client, kept = Client(), Kept()
    await Errors(app, measures=measures_of(CollectorRegistry()), lines=Lines(kept))(scope("/"), nothing, client.send)
    assert (client.status, client.said[1]["body"]) == (503, b"back at noon")
    assert [(line["category"], line["error"]) for line in kept.of("request.failed")] == [("dependency", "answered 503")]
