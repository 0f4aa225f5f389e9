"""Exceptions that are hard to log, texts that are hard to mask: the error is logged once all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.asgi.alone import Client, nothing, scope
from tests.asgi.frameworks import Kept
from tocsin.asgi import Errors, Lines
from tocsin.asgi.errors.category import Categories
from tocsin.asgi.errors.fingerprint import Fingerprints
from tocsin.asgi.errors.report import MOST_STACK
from tocsin.asgi.errors.scrub import excerpt, scrubbed
from tocsin.asgi.errors.sentry import envelope_of, event_of
from tocsin.asgi.measures import measures_of


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Moody(Exception):
    @property
    def status_code(self) -> int:
        raise TypeError("not today")


class Panic(BaseException):
    """As pyo3's PanicException is: no Exception."""


def without_end(depth: int) -> int:
    return without_end(depth + 1)


def with_the_lot() -> None:
    try:
        raise KeyError("password=hunter2")
    except KeyError as cause:
        error = RuntimeError("for ana@example.com")
        error.add_note("from 10.1.2.3, token=hunter2")
        raise error from cause


def raises(error: BaseException) -> Callable[[], None]:
    def raising() -> None:
        raise error

    return raising


WORST: dict[str, Callable[[], Any]] = {
    "its text can't be made": raises(Mute()),
    "half of a surrogate pair": raises(ValueError("file \udcff")),
    "a property that raises": raises(Moody()),
    "a module that is none": raises(type("Odd", (Exception,), {"__module__": 5})()),
    "a panic": raises(Panic("index out of range")),
    "a group": raises(ExceptionGroup("two", [ValueError("a"), KeyError("b")])),
    "a group of panics": raises(BaseExceptionGroup("two", [Panic("a"), Panic("b")])),
    "a recursion": lambda: without_end(0),
    "a cause and a note": with_the_lot,
    "a long text": raises(ValueError("a.b1" * 1_000_000)),
}


async def outcome(failing: Callable[[], Any]) -> tuple[Kept, Client, list[Any]]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        failing()

    kept, client, told = Kept(), Client(), []
    errors = Errors(app, measures=measures_of(CollectorRegistry()), lines=Lines(kept), observers=[told.append])
    await errors(scope("/x"), nothing, client.send)
    return kept, client, told


@pytest.mark.parametrize("name", WORST)
async def test_whatever_an_exception_is_it_is_logged_once_and_answered(name: str) -> None:
    """With its stack, bounded and masked, and it can be forwarded."""
    kept, client, [report] = await outcome(WORST[name])
    [line] = kept.of("request.failed")
    assert (client.status, client.header(b"content-type"), line["status"]) == (500, b"application/problem+json", 500)
    assert line["stack"].startswith(("Traceback", "  + Exception Group Traceback"))
    assert len(line["stack"]) < MOST_STACK + 100
    assert [secret for secret in ("hunter2", "ana@", "10.1.2.3") if secret in str(line)] == []
    assert envelope_of(event_of(report)).count(b"\n") == 3


async def test_the_end_of_the_process_is_logged_and_goes_on() -> None:
    """sys.exit() in a handler takes the process with it, which somebody will ask about. A cancellation is no error."""
    kept = Kept()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise {"/exit": SystemExit(3), "/gone": BaseExceptionGroup("", [asyncio.CancelledError()])}[scope["path"]]

    errors = Errors(app, measures=measures_of(CollectorRegistry()), lines=Lines(kept))
    with pytest.raises(SystemExit):
        await errors(scope("/exit"), nothing, Client().send)
    with pytest.raises(BaseExceptionGroup):
        await errors(scope("/gone"), nothing, Client().send)
    assert [line["error"] for line in kept.of("request.failed")] == ["SystemExit: 3"]


def test_generated_code_is_not_the_applications_frame() -> None:
    """Else all errors that come through one generated function would be one."""
    space: dict[str, Any] = {"__name__": "generated"}
    exec(compile("def made(call):\n    call()\n", "<string>", "exec"), space)

    def one() -> None:
        space["made"](lambda: int("x"))

    def other() -> None:
        space["made"](int)
        space["made"](lambda: None) or space["made"]("no function")

    found = []
    for function in (one, other):
        try:
            function()
        except Exception as error:  # noqa: BLE001 (one is a ValueError, the other a TypeError)
            found.append(Fingerprints().of(error)[1])
    assert [where.rpartition(".")[2] for where in found] == ["<lambda>", "other"]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://h/reset?code=abcdef&email=ana%40example.com", "https://h/reset?***"),
        ("GET /find?name=ana failed", "GET /find?*** failed"),
        ("ana%40example.com", "***"),
        ("client 10.1.2.3.", "client ***."),
        ("2001:db8::17 said", "*** said"),
        ("SUPABASE_SERVICE_ROLE_KEY=hunter2", "SUPABASE_SERVICE_ROLE_KEY=***"),
        ("secret_key: hunter2", "secret_key: ***"),
        ("github_pat_11AAAAAAA0abcdefghijklmnop", "***"),
        ("Set-Cookie: a=b; c=hunter2", "Set-Cookie: ***"),
        ("Authorization: Digest hunter2", "Authorization: Digest ***"),
        ("[(b'x-api-key', b'hunter2')]", "[(b'x-api-key', b***)]"),
        ('{"password": "hun\\"ter2"}', '{"password": ***}'),
        ("127.0.0.1:5432, 0.0.0.0, version 1.2.3, 12:00:00", "127.0.0.1:5432, 0.0.0.0, version 1.2.3, 12:00:00"),
    ],
)
def test_what_is_personal_is_masked_wherever_it_stands(text: str, kept: str) -> None:
    """In query strings, headers and variables; and no more than that."""
    assert scrubbed(text) == kept


def test_a_secret_is_not_cut_through() -> None:
    """Half of one has no mark to be known by."""
    text = "x" * 480 + " postgresql://app:hunter2" + "z" * 300 + "@db/app " + "y" * 600
    assert "hunter2" not in excerpt(text, 1000)


def test_a_category_survives_what_an_exception_says_of_itself() -> None:
    """A property that raises is no status."""
    assert Categories().of(Moody(), 503) == "dependency"


async def test_a_framework_that_sends_no_headers_is_answered_for_all_the_same() -> None:
    """They may be left out. https://asgi.readthedocs.io/en/latest/specs/www.html#response-start-send-event"""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            raise KeyError("x")
        except KeyError:
            await send({"type": "http.response.start", "status": 500})
            await send({"type": "http.response.body", "body": b"Traceback: our insides"})

    kept, client = Kept(), Client()
    await Errors(app, measures=measures_of(CollectorRegistry()), lines=Lines(kept))(scope("/x"), nothing, client.send)
    [line] = kept.of("request.failed")
    assert (client.header(b"content-type"), line["error"]) == (b"application/problem+json", "KeyError: 'x'")
    assert [message for message in client.said if b"insides" in message.get("body", b"")] == []
