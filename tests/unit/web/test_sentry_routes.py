"""POST /api/N/envelope/ and /api/N/store/: by what an SDK proves itself, and what a page of any origin is told."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import brotli
import pytest

from collectors.sentry import SentrySettings
from collectors.sentry.inlet import SentryInlet
from tocsin.access.tokens import Scope
from tocsin.testing.asking import ask
from tocsin.web.packed import MOST_BYTES
from tocsin.web.sentry import UNPROVEN_BYTES
from tocsin.web.server import application

# A type of this folder's conftest, which a test can't import.
Port = Any

KEY = "0123456789abcdef"
AT = datetime(2026, 8, 20, 9, 0, tzinfo=UTC)
ENVELOPE, STORE = "/api/7/envelope/", "/api/7/store/"
EVENT = json.dumps({"exception": {"values": [{"type": "KeyError"}]}}).encode()


def envelope(**header: Any) -> bytes:
    return json.dumps({"event_id": "e1"} | header).encode() + b'\n{"type":"event"}\n' + EVENT


@pytest.fixture
def inlet(port: Port, tmp_path: Path) -> SentryInlet:
    """The inlet of project 7; the port serves it."""
    settings = SentrySettings.model_validate({"kind": "sentry", "name": "errors", "project": 7, "key": KEY})
    made = SentryInlet(settings, tmp_path)
    object.__setattr__(port.inside, "inlets", lambda: {"errors": made})
    port.app = application(port.inside)
    return made


async def sent(port: Port, body: bytes, path: str = ENVELOPE, method: str = "POST", **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await ask(port.app, method, path, body=body, headers=named)


def counted(inlet: SentryInlet) -> float:
    samples = inlet._counts.samples(AT, AT)
    return sum(sample.value for sample in samples if sample.name == "tocsin_sentry_events_total")


AUTH = f"Sentry sentry_version=7, sentry_client=x/1, sentry_key={KEY}"


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (ENVELOPE, {"x_sentry_auth": AUTH}, 200),
        (ENVELOPE, {"authorization": AUTH}, 200),
        (f"{ENVELOPE}?sentry_key={KEY}&sentry_version=7", {}, 200),
        (f"{ENVELOPE}?sentry_key={KEY}", {"x_sentry_auth": AUTH}, 200),
        (ENVELOPE, {"authorization": AUTH.replace(KEY, "x" * 16)}, 401),
        (ENVELOPE, {"authorization": f"Bearer sentry_key={KEY}"}, 401),
        (f"{ENVELOPE}?sentry_key={'x' * 16}", {"x_sentry_auth": AUTH}, 401),
        (f"/api/8/envelope/?sentry_key={KEY}", {}, 401),
        (ENVELOPE, {}, 401),
    ],
)
async def test_the_dsns_key_is_shown_where_sdks_show_it(
    port: Port, inlet: SentryInlet, path: str, headers: dict[str, str], status: int
) -> None:
    """In either header or in the query; two that differ are none."""
    answer = await sent(port, envelope(), path, **headers)
    assert (answer.status, counted(inlet)) == (status, 1.0 if status == 200 else 0.0)


async def test_a_tunneled_envelope_is_let_in_by_the_dsn_that_it_holds(port: Port, inlet: SentryInlet) -> None:
    """A page's own server hands it on without a header; of this project, packed or not, and within a megabyte."""
    dsn = f"https://{KEY}@tocsin.example/7"
    assert (await sent(port, envelope(dsn=dsn))).json() == {"id": "e1"}
    packed = gzip.compress(envelope(dsn=dsn))
    assert (await sent(port, packed, content_encoding="gzip")).status == 200
    assert (await sent(port, brotli.compress(envelope(dsn=dsn)), content_encoding="br")).status == 200
    assert counted(inlet) == 3
    refused = [
        await sent(port, envelope(dsn=f"https://{KEY}@tocsin.example/8")),
        await sent(port, envelope(dsn=f"https://{'x' * 16}@tocsin.example/7")),
        await sent(port, envelope(dsn=["x"])),
        await sent(port, b"[]\n"),
        await sent(port, packed[:9] + b"nonsense", content_encoding="gzip"),
        await sent(port, envelope(dsn=dsn), x_sentry_auth=AUTH.replace(KEY, "x" * 16)),
        await sent(port, envelope(dsn=dsn), "/api/8/envelope/"),
        await sent(port, envelope(dsn=dsn), STORE),
    ]
    assert [answer.status for answer in refused] == [401] * len(refused)
    assert (await sent(port, envelope(dsn=dsn) + b" " * UNPROVEN_BYTES)).status == 413
    assert counted(inlet) == 3


async def test_an_older_sdk_posts_the_event_alone(port: Port, inlet: SentryInlet) -> None:
    """It is counted as one in an envelope; what is none is told so."""
    answer = await sent(port, json.dumps(json.loads(EVENT), indent=1).encode(), STORE, x_sentry_auth=AUTH)
    assert (answer.status, counted(inlet)) == (200, 1)
    answer = await sent(port, b"no event", STORE, x_sentry_auth=AUTH)
    assert (answer.status, "an event is not JSON" in answer.json()["detail"]) == (400, True)
    assert (await port.ask("POST", STORE, Scope.QUERY_READ, body=EVENT)).status == 403


PACKINGS = {
    "gzip": ("gzip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "brotli": ("br", brotli.compress),
    "base64 of zlib": ("", lambda body: base64.b64encode(zlib.compress(body))),
    "base64 in lines": ("identity", lambda body: base64.encodebytes(zlib.compress(body, 0))),
    "gzip of that": ("gzip", lambda body: gzip.compress(base64.b64encode(zlib.compress(body)))),
}


@pytest.mark.parametrize("name", PACKINGS)
async def test_what_older_sdks_pack_is_unpacked(port: Port, inlet: SentryInlet, name: str) -> None:
    """As with envelopes by Content-Encoding; or without a word of it as base64 of zlib, as Raven's clients did."""
    coding, pack = PACKINGS[name]
    named = {"x_sentry_auth": AUTH} | ({"content_encoding": coding} if coding else {})
    assert ((await sent(port, pack(EVENT), STORE, **named)).status, counted(inlet)) == (200, 1)


async def test_what_an_older_sdk_packs_stops_at_the_bound(port: Port, inlet: SentryInlet) -> None:
    """However it says that it is packed; brotli and gzip are shown at the drain's door."""
    bomb = zlib.compress(EVENT + b" " * MOST_BYTES, 1)
    for body, coding in ((bomb, "deflate"), (base64.b64encode(bomb), "identity")):
        answer = await sent(port, body, STORE, x_sentry_auth=AUTH, content_encoding=coding)
        assert (answer.status, "unpacks to more than the 32 MiB" in answer.json()["detail"]) == (413, True)
    assert counted(inlet) == 0


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (base64.b64encode(zlib.compress(EVENT)[:-4]), "cut off"),
        (base64.b64encode(zlib.compress(EVENT) + b"more"), "or more than one"),
        (base64.b64encode(b"x\x9cnonsense"), "is not zlib"),
        (base64.b64encode(b"nonsense"), "an event is not JSON"),
        (b"eJw!", "an event is not JSON"),
        (b"", "an event is not JSON"),
    ],
)
async def test_an_older_sdk_is_told_what_can_not_be_unpacked(
    port: Port, inlet: SentryInlet, body: bytes, told: str
) -> None:
    """400, and why."""
    answer = await sent(port, body, STORE, x_sentry_auth=AUTH)
    assert (answer.status, told in answer.json()["detail"]) == (400, True)


async def test_a_page_can_read_why_it_was_refused(port: Port, inlet: SentryInlet) -> None:
    """Whatever is answered to a post, by the door or behind it; by no other method and on no other route."""
    page = {"origin": "https://shop.example"}
    bomb, packed = gzip.compress(b" " * (MOST_BYTES + 1), 1), {"content_encoding": "gzip"}
    dsn = f"https://{KEY}@tocsin.example/7"
    answers = [
        await sent(port, b"no event", f"{path}?sentry_key={key}", **page, **more)
        for path in (ENVELOPE, STORE)
        for key, more in ((KEY, {}), (KEY, {"content_encoding": "zstd"}), ("x" * 16, {}))
    ]
    answers += [
        await sent(port, bomb, f"{ENVELOPE}?sentry_key={KEY}", **page, **packed),
        await sent(port, envelope(dsn=dsn) + b" " * UNPROVEN_BYTES, **page),
        await sent(port, envelope(), "/api/8/envelope/", **page),
        await port.ask("POST", "/api/8/store/", Scope.INGEST_WRITE, headers=page, body=EVENT),
        await port.ask("POST", ENVELOPE, Scope.QUERY_READ, headers=page, body=envelope()),
    ]
    assert [answer.status for answer in answers] == [400, 415, 401, 400, 415, 401, 413, 413, 401, 404, 403]
    assert [answer.headers.get("access-control-allow-origin") for answer in answers] == ["*"] * len(answers)
    closed = [
        await sent(port, b"", path, method, **page)
        for method, path in (
            ("GET", ENVELOPE), ("PUT", ENVELOPE), ("GET", STORE), ("OPTIONS", STORE), ("POST", "/api/7/envelope"),
            ("POST", "/api/7/minidump/"), ("POST", "/ingest/auth-logs"), ("POST", "/api/v1/query"), ("GET", "/healthz"),
        )
    ]  # fmt: skip
    assert [answer.status for answer in closed] == [401] * 8 + [200]
    assert [name for answer in closed for name in answer.headers if name.startswith("access-control-")] == []


async def test_a_page_of_any_origin_may_post_and_learns_nothing(port: Port, inlet: SentryInlet) -> None:
    """The same to whoever asks, of whatever project; other methods want a credential as ever."""
    asked = {"origin": "https://shop.example", "access_control_request_method": "POST"}
    there, nowhere = [await sent(port, b"", f"/api/{n}/envelope/", "OPTIONS", **asked) for n in (7, 8)]
    assert (there.status, there.body, there.headers) == (nowhere.status, nowhere.body, nowhere.headers)
    assert (there.status, there.headers["access-control-allow-origin"]) == (204, "*")
    assert "access-control-allow-credentials" not in there.headers
    assert "X-Sentry-Auth" in there.headers["access-control-allow-headers"]
    answer = await sent(port, envelope(), f"{ENVELOPE}?sentry_key={KEY}", origin="https://shop.example")
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "*")
    assert (await sent(port, b"", STORE, "OPTIONS", **asked)).status == 401
    assert (await sent(port, b"", ENVELOPE, "GET")).status == 401
