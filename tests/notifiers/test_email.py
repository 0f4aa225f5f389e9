"""Mail: what is sent, how it is threaded, and what each answer of the server means."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import ValidationError

from notifiers.email import SPEC, EmailNotifier, EmailSettings
from tocsin.errors import DeliveryError, Refused, Unavailable, Uncertain
from tocsin.model import Action, Reason
from tocsin.ports import NotifierContext
from tocsin.testing.notifications import (
    a_notification,
    a_receipt,
    a_resolved_incident,
    alerts,
    an_alert,
    an_incident,
)
from tocsin.testing.smtp import BREAK, HANG, FakeSmtp

USUAL = {
    "kind": "email",
    "name": "mail",
    "to": ["ana@example.com", "ben@example.com"],
    "from": "tocsin@example.com",
    "host": "127.0.0.1",
    "security": "none",
}


@pytest.fixture
async def smtp() -> AsyncIterator[FakeSmtp]:
    async with FakeSmtp() as smtp:
        yield smtp


@pytest.fixture
def mail(context: NotifierContext, smtp: FakeSmtp) -> Callable[..., EmailNotifier]:
    """`mail(username=…)`: a notifier that sends through the stand-in."""

    def build(**settings: Any) -> EmailNotifier:
        values = {**USUAL, "port": smtp.port, **settings}
        return EmailNotifier(EmailSettings.model_validate(values), context)

    return build


async def test_a_notification_is_one_mail(mail: Callable[..., EmailNotifier], smtp: FakeSmtp) -> None:
    """The subject is the line for phones."""
    await mail().send(a_notification(), None)
    (sent,) = smtp.mails
    assert (sent["Subject"], sent["To"]) == (
        "P0 checkout-api: 12.4 % of requests fail (limit 0.1 %), 3 min. Nobody has acked.",
        "ana@example.com, ben@example.com",
    )


async def test_the_body_says_it_all_in_plain_text(mail: Callable[..., EmailNotifier], smtp: FakeSmtp) -> None:
    """What, since when, why, and where to look."""
    await mail().send(a_notification(), None)
    assert smtp.mails[0].get_content().replace("\r\n", "\n") == (
        "P0 checkout-api: 12.4 % of requests fail (limit 0.1 %)\n"
        "Since 14:02 UTC (3 min). Nobody has acked.\n"
        "Why this mail: a new incident\n"
        "Where: region=eu-west-1\n"
        "\n"
        "Requests to checkout answer 5xx.\n"
        "\n"
        "Runbook: https://runbooks.example/HighErrorRate\n"
        "Dashboard: https://grafana.example/d/api?from=now-1h&to=now\n"
        "Console: https://tocsin.example/incidents/i-3f9a2c\n"
    )


async def test_the_receipt_names_the_mail(mail: Callable[..., EmailNotifier], smtp: FakeSmtp) -> None:
    """By its Message-ID, and to whom it went."""
    receipt = await mail().send(a_notification(), None)
    assert (receipt.ref, receipt.destination) == (smtp.mails[0]["Message-ID"], "ana@example.com, ben@example.com")


async def test_the_same_notification_is_the_same_mail(mail: Callable[..., EmailNotifier], smtp: FakeSmtp) -> None:
    """Sent again after a lost answer, many systems show it once."""
    for _ in range(2):
        await mail().send(a_notification(), None)
    assert len({sent["Message-ID"] for sent in smtp.mails}) == 1


async def test_a_later_mail_is_in_the_thread_of_the_first(mail: Callable[..., EmailNotifier], smtp: FakeSmtp) -> None:
    """So that a mailbox shows one incident as one."""
    parent = await mail().send(a_notification(), None)
    await mail().send(a_notification(a_resolved_incident(), action=Action.RESOLVE), parent)
    assert smtp.mails[1]["In-Reply-To"] == smtp.mails[0]["Message-ID"]


async def test_a_receipt_of_another_notifier_is_no_thread(mail: Callable[..., EmailNotifier], smtp: FakeSmtp) -> None:
    """Slack's ts names no mail."""
    await mail().send(a_notification(action=Action.RESOLVE), a_receipt())
    assert smtp.mails[0]["In-Reply-To"] is None


async def test_a_label_can_not_make_a_header(mail: Callable[..., EmailNotifier], smtp: FakeSmtp) -> None:
    """Line ends are gone from everything that labels and annotations hold."""
    text = "down\r\nBcc: everyone@example.com\r\n\r\n.\r\nMAIL FROM:<x>"
    alert = an_alert(annotations={"summary": text, "description": text}, labels={"service": text})
    await mail().send(a_notification(an_incident(members=(alert,)), because=text), None)
    assert (len(smtp.mails), smtp.mails[0]["Bcc"]) == (1, None)


async def test_a_digest_has_a_line_for_each(mail: Callable[..., EmailNotifier], smtp: FakeSmtp) -> None:
    """Of very many the first, and a number."""
    incidents = [an_incident(id=f"i-{number}", members=alerts(2)) for number in range(60)]
    await mail().send(a_notification(*incidents, action=Action.DIGEST, reason=Reason.DIGEST_DUE), None)
    lines = smtp.mails[0].get_content().splitlines()
    assert (len([line for line in lines if line.startswith("- ")]), lines[-1]) == (50, "... 10 more")


async def test_a_password_is_used_to_sign_in(
    mail: Callable[..., EmailNotifier], smtp: FakeSmtp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AUTH comes before MAIL."""
    monkeypatch.setenv("SMTP_PASSWORD", "geheim")
    await mail(username="tocsin", password_env="SMTP_PASSWORD").send(a_notification(), None)
    verbs = [command.split()[0].upper() for command in smtp.commands]
    assert verbs.index("AUTH") < verbs.index("MAIL")


# Answers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"CONNECT": "421 too busy"}, Unavailable),
        ({"CONNECT": BREAK}, Unavailable),
        ({"CONNECT": HANG}, Unavailable),
        ({"MAIL": "451 later"}, Unavailable),
        ({"MAIL": "550 not you"}, Refused),
        ({"MAIL": HANG}, Unavailable),
        ({"RCPT ana@example.com": "450 greylisted", "RCPT ben@example.com": "450 greylisted"}, Unavailable),
        ({"RCPT ana@example.com": "550 unknown", "RCPT ben@example.com": "550 unknown"}, Refused),
        ({"DATA": "451 later"}, Unavailable),
        ({"BODY": "452 full"}, Unavailable),
        ({"BODY": "554 spam"}, Refused),
        ({"BODY": BREAK}, Uncertain),
        ({"BODY": HANG}, Uncertain),
    ],
)
async def test_each_answer_has_its_next_action(
    mail: Callable[..., EmailNotifier], smtp: FakeSmtp, answers: dict[str, str], expected: type[DeliveryError]
) -> None:
    """Later, never, or nobody knows."""
    smtp.answers = answers
    with pytest.raises(expected):
        await mail(deadline=1.0).send(a_notification(), None)


async def test_one_refused_recipient_does_not_stop_the_others(
    mail: Callable[..., EmailNotifier], smtp: FakeSmtp
) -> None:
    """The receipt says who did not get it."""
    smtp.answers = {"RCPT ben@example.com": "550 unknown"}
    receipt = await mail().send(a_notification(), None)
    assert (len(smtp.mails), receipt.destination, receipt.degraded) == (
        1,
        "ana@example.com",
        "not to ben@example.com: 550 unknown",
    )


async def test_a_wrong_password_is_refused_and_not_shown(
    mail: Callable[..., EmailNotifier], smtp: FakeSmtp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner must mend it; trying on would lock the account."""
    monkeypatch.setenv("SMTP_PASSWORD", "geheim")
    smtp.answers = {"AUTH": "535 wrong"}
    with pytest.raises(Refused) as caught:
        await mail(username="tocsin", password_env="SMTP_PASSWORD").send(a_notification(), None)
    assert (caught.value.mend, "geheim" in str(caught.value)) == ("check username and password", False)


async def test_a_server_without_starttls_is_refused(mail: Callable[..., EmailNotifier]) -> None:
    """Rather than a mail in clear."""
    with pytest.raises(Refused, match="STARTTLS"):
        await mail(security="starttls").send(a_notification(), None)


async def test_nobody_there_is_certainly_not_sent(mail: Callable[..., EmailNotifier], unused_port: int) -> None:
    """It can be sent again at once."""
    with pytest.raises(Unavailable):
        await mail(port=unused_port).send(a_notification(), None)


async def test_a_check_sends_no_mail(mail: Callable[..., EmailNotifier], smtp: FakeSmtp) -> None:
    """It connects and signs in."""
    health = await mail().check()
    assert (health.ok, smtp.mails) == (True, [])


async def test_a_server_that_is_down_is_told(mail: Callable[..., EmailNotifier], unused_port: int) -> None:
    """With what to look at."""
    health = await mail(port=unused_port).check()
    assert (health.ok, "firewall" in health.mend) == (False, True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"to": []}, "at least 1"),
        ({"to": ["ana"]}, "pattern"),
        ({"to": ["a@b.c\nBcc: d@e.f"]}, "pattern"),
        ({"username": "x"}, "belong together"),
        ({"username": "x", "password": "y", "host": "mail.example"}, "in clear"),
        ({"username": "x", "password_env": "A", "password_file": "b"}, "keep one of them"),
        ({"timezone": "Mars"}, "no such time zone"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    """At start."""
    with pytest.raises(ValidationError, match=message):
        EmailSettings.model_validate({**USUAL, **settings})


def test_mail_cannot_edit() -> None:
    """So only posts, escalations and resolutions are sent."""
    assert (SPEC.kind, SPEC.edits) == ("email", False)
