"""The webhook: what is posted, how it is signed, and what each answer means."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from notifiers._payload import encode, payload_of
from notifiers.webhook import SPEC, WebhookNotifier, WebhookSettings
from tocsin.errors import DeliveryError, Refused, Throttled, Unavailable, Uncertain
from tocsin.model import Action, Mention, Reason
from tocsin.ports import NotifierContext
from tocsin.runtime.clock import SteadyClock
from tocsin.testing.notifications import a_notification, alerts, an_acked_incident, an_alert, an_incident


@dataclass
class Receiver:
    """Answers as it is told to, and keeps what it was sent."""

    url: str = ""
    answers: list[web.Response | str] = field(default_factory=list)
    requests: list[tuple[web.BaseRequest, bytes]] = field(default_factory=list)

    async def take(self, request: web.BaseRequest) -> web.Response:
        self.requests.append((request, await request.read()))
        answer = self.answers.pop(0) if self.answers else web.Response(status=204)
        if isinstance(answer, str):  # break the connection
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return answer

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.requests]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    runner = web.ServerRunner(web.Server(receiver.take), shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield receiver
    await runner.cleanup()


@pytest.fixture
async def webhook(context: NotifierContext, receiver: Receiver) -> AsyncIterator[Callable[..., WebhookNotifier]]:
    """`webhook(secret_env=…)`: a notifier that posts to the receiver."""
    built: list[WebhookNotifier] = []

    def build(**settings: Any) -> WebhookNotifier:
        values = {"kind": "webhook", "name": "backup", **({"url": receiver.url} | settings)}
        notifier = WebhookNotifier(WebhookSettings.model_validate(values), context)
        built.append(notifier)
        return notifier

    yield build
    for notifier in built:
        await notifier.close()


# What is posted ------------------------------------------------------------------------------------------------------


async def test_a_notification_is_one_json_object(webhook: Callable[..., WebhookNotifier], receiver: Receiver) -> None:
    """Of the documented schema."""
    await webhook().send(a_notification(mentions=(Mention(kind="user", id="ana"),)), None)
    (body,) = receiver.bodies
    assert {name: body[name] for name in ("version", "action", "reason", "severity", "created_at", "mentions")} == {
        "version": 1,
        "action": "post",
        "reason": "new_incident",
        "severity": "P0",
        "created_at": "2026-01-05T14:05:00Z",
        "mentions": [{"kind": "user", "id": "ana"}],
    }


async def test_the_receipt_says_who_took_it(webhook: Callable[..., WebhookNotifier]) -> None:
    """The host, not the path, which may be a secret."""
    receipt = await webhook().send(a_notification(), None)
    assert (receipt.destination, receipt.notifier, receipt.ref) == ("127.0.0.1", "backup", a_notification().id)


async def test_a_receiver_can_tell_a_repetition(webhook: Callable[..., WebhookNotifier], receiver: Receiver) -> None:
    """The same notification has the same key, however often it is sent."""
    notifier = webhook()
    for _ in range(2):
        await notifier.send(a_notification(), None)
    keys = [(each.headers["Idempotency-Key"], each.headers["webhook-id"]) for each, _ in receiver.requests]
    assert keys == [(a_notification().id, a_notification().id)] * 2


def test_an_incident_is_told_with_its_members() -> None:
    """State, people and times; the labels as they are."""
    (incident,) = payload_of(a_notification(an_acked_incident(members=alerts(2))), console_url="https://t.example")[
        "incidents"
    ]
    assert (incident["state"], incident["acked_by"], incident["url"]) == (
        "acked",
        "Ana",
        "https://t.example/incidents/i-3f9a2c",
    )
    assert [member["labels"]["instance"] for member in incident["members"]] == ["web-0", "web-1"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.124, "0.124"), (3.0, "3"), (float("nan"), "NaN"), (float("inf"), "+Inf"), (float("-inf"), "-Inf")],
)
def test_any_value_is_valid_json(value: float, expected: str) -> None:
    """As text, as in Prometheus' API: JSON knows no NaN."""
    body = json.loads(encode(payload_of(a_notification(an_incident(members=(an_alert(value=value),))))))
    assert body["incidents"][0]["members"][0]["value"] == expected


@given(st.text())
def test_any_text_is_valid_utf8_json(text: str) -> None:
    """Half a surrogate pair, too, which JSON parsers refuse."""
    broken = text + "\ud800"
    notification = a_notification(an_incident(members=(an_alert(labels={"x": broken}),)), because=broken)
    assert json.loads(encode(payload_of(notification)).decode("utf-8"))["version"] == 1


def test_of_very_many_the_first_hundred_are_sent_and_the_rest_counted() -> None:
    """A body of 10,000 members would be refused."""
    storm = a_notification(
        *[an_incident(id=f"i-{number}", members=alerts(300)) for number in range(150)], reason=Reason.OVER_BUDGET
    )
    body = payload_of(storm)
    assert (len(body["incidents"]), body["incidents_total"]) == (100, 150)
    assert (len(body["incidents"][0]["members"]), body["incidents"][0]["members_total"]) == (100, 300)


# Signature -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secret", "key"),
    [("whsec_c2VjcmV0LWtleQ==", b"secret-key"), ("v1,whsec_c2VjcmV0LWtleQ==", b"secret-key"), ("plain", b"plain")],
)
async def test_a_request_is_signed_as_standard_webhooks_lays_down(
    webhook: Callable[..., WebhookNotifier],
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    secret: str,
    key: bytes,
) -> None:
    """HMAC-SHA256 over id, time and body, checked here by hand."""
    monkeypatch.setenv("HOOK_SECRET", secret)
    await webhook(secret_env="HOOK_SECRET").send(a_notification(), None)
    ((request, body),) = receiver.requests
    signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-signature"] == expected


async def test_a_secret_file_is_read_anew(
    webhook: Callable[..., WebhookNotifier], receiver: Receiver, context: NotifierContext
) -> None:
    """A rotated secret needs no reload."""
    file = context.folder / "secret"
    notifier = webhook(secret_file="secret")
    signatures = set()
    for text in ("one", "two"):
        file.write_text(text)
        await notifier.send(a_notification(), None)
        signatures.add(receiver.requests[-1][0].headers["webhook-signature"])
    assert len(signatures) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"secret_env": "NOT_SET_HERE"}, "NOT_SET_HERE is not set"),
        ({"secret_file": "nowhere"}, "can't read the secret"),
        ({"secret": "whsec_%%%"}, "not Base64"),
        ({"headers_env": {"Authorization": "NOT_SET_HERE"}}, "NOT_SET_HERE is not set"),
        ({"url": None, "url_env": "NOT_SET_HERE"}, "NOT_SET_HERE is not set"),
    ],
)
async def test_a_missing_secret_is_a_refusal_that_names_it(
    webhook: Callable[..., WebhookNotifier], receiver: Receiver, settings: dict[str, Any], message: str
) -> None:
    """And nothing is sent without it."""
    with pytest.raises(Refused, match=message):
        await webhook(**settings).send(a_notification(), None)
    assert receiver.requests == []


async def test_a_header_may_come_from_the_environment(
    webhook: Callable[..., WebhookNotifier], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A credential has no place in config.yaml."""
    monkeypatch.setenv("HOOK_AUTH", "Bearer abc")
    await webhook(headers={"X-Team": "ops"}, headers_env={"Authorization": "HOOK_AUTH"}).send(a_notification(), None)
    headers = receiver.requests[0][0].headers
    assert (headers["Authorization"], headers["X-Team"]) == ("Bearer abc", "ops")


# Answers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (400, {}, Refused),
        (401, {}, Refused),
        (404, {}, Refused),
        (410, {}, Refused),
        (302, {"Location": "/elsewhere"}, Refused),
        (408, {}, Uncertain),
        (500, {}, Uncertain),
        (503, {}, Uncertain),
        (429, {"Retry-After": "7"}, Throttled),
        (503, {"Retry-After": "7"}, Throttled),
    ],
)
async def test_each_answer_has_its_next_action(
    webhook: Callable[..., WebhookNotifier],
    receiver: Receiver,
    status: int,
    headers: dict[str, str],
    expected: type[DeliveryError],
) -> None:
    """And a redirect is not followed: it would lose the body."""
    receiver.answers.append(web.Response(status=status, headers=headers, text="why not"))
    with pytest.raises(expected, match=f"HTTP {status}: why not") as caught:
        await webhook().send(a_notification(), None)
    assert (len(receiver.requests), getattr(caught.value, "retry_after", 7.0)) == (1, 7.0)


async def test_a_body_that_is_too_large_is_sent_without_members(
    webhook: Callable[..., WebhookNotifier], receiver: Receiver
) -> None:
    """And the receipt says so."""
    receiver.answers.append(web.Response(status=413))
    receipt = await webhook().send(a_notification(an_incident(members=alerts(3))), None)
    assert ([len(body["incidents"][0]["members"]) for body in receiver.bodies], receipt.degraded) == (
        [3, 0],
        "without members: the webhook answered HTTP 413",
    )


async def test_a_broken_connection_is_uncertain(webhook: Callable[..., WebhookNotifier], receiver: Receiver) -> None:
    """The receiver may have it."""
    receiver.answers.append("break")
    with pytest.raises(Uncertain):
        await webhook().send(a_notification(), None)


async def test_an_answer_that_does_not_come_is_uncertain(
    webhook: Callable[..., WebhookNotifier], receiver: Receiver
) -> None:
    """One attempt ends at its deadline."""

    class Never(web.Response):
        async def prepare(self, request: web.BaseRequest) -> Any:
            await asyncio.Event().wait()

    receiver.answers.append(Never())
    with pytest.raises(Uncertain):
        await webhook(deadline=0.2).send(a_notification(), None)


async def test_nobody_there_is_certainly_not_sent(webhook: Callable[..., WebhookNotifier], unused_port: int) -> None:
    """It can be sent again at once."""
    with pytest.raises(Unavailable):
        await webhook(url=f"http://127.0.0.1:{unused_port}/").send(a_notification(), None)


async def test_nothing_can_be_read_back(webhook: Callable[..., WebhookNotifier]) -> None:
    """So the delivery sends again, with the same key."""
    assert await webhook().find(a_notification(), None) is None


# Health and settings -------------------------------------------------------------------------------------------------


async def test_a_check_posts_nothing(webhook: Callable[..., WebhookNotifier], receiver: Receiver) -> None:
    """It asks with OPTIONS; any answer shows that somebody is there."""
    receiver.answers.append(web.Response(status=405))
    health = await webhook().check()
    assert (health.ok, [request.method for request, _ in receiver.requests]) == (True, ["OPTIONS"])


async def test_an_unreachable_receiver_is_told(webhook: Callable[..., WebhookNotifier], unused_port: int) -> None:
    """With what to look at."""
    health = await webhook(url=f"http://127.0.0.1:{unused_port}/").check()
    assert (health.ok, "firewall" in health.mend) == (False, True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "give one of url and url_env"),
        ({"url": "https://a", "url_env": "A"}, "give one of url and url_env"),
        ({"url": "ftp://a"}, "wants an address"),
        ({"url": "https://a", "headers": {"Authorization": "x"}}, "headers_env: {Authorization: VARIABLE}"),
        ({"url": "https://a", "headers": {"Idempotency-Key": "x"}}, "is set by Tocsin"),
        ({"url": "https://a", "secret_env": "A", "secret_file": "b"}, "only one of"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    """With what is wanted."""
    with pytest.raises(ValidationError, match=message):
        WebhookSettings.model_validate({"kind": "webhook", "name": "x", **settings})


def test_a_webhook_cannot_edit() -> None:
    """So only posts, escalations and resolutions are sent to it."""
    assert (SPEC.kind, SPEC.edits) == ("webhook", False)


async def test_a_resolution_is_told(webhook: Callable[..., WebhookNotifier], receiver: Receiver) -> None:
    """With or without a first message here."""
    await webhook().send(a_notification(action=Action.RESOLVE), None)
    assert receiver.bodies[0]["action"] == "resolve"


async def test_what_may_not_be_sent_does_not_leave(receiver: Receiver) -> None:
    """Another replica leads by now: asked when the connection is there, and certainly not sent."""
    asked = []

    def permit() -> None:
        asked.append(True)
        if len(asked) > 1:
            raise Unavailable("this replica does not lead")

    context = NotifierContext(clock=SteadyClock(), folder=Path(), permit=permit)
    settings = WebhookSettings.model_validate({"kind": "webhook", "name": "hook", "url": receiver.url})
    notifier = WebhookNotifier(settings, context)
    try:
        await notifier.send(a_notification(an_incident()), None)
        with pytest.raises(Unavailable, match="does not lead"):
            await notifier.send(a_notification(an_incident()), None)
        assert (await notifier.check()).ok
    finally:
        await notifier.close()
    assert [request.method for request, _ in receiver.requests] == ["POST", "OPTIONS"]
