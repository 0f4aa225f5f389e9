"""Mail: each notification as one plain-text mail by SMTP, threaded by incident.

  kind: email, name: backup, to: [oncall@example.com], from: tocsin@example.com,
  host: smtp.example.com, username: tocsin, password_env: SMTP_PASSWORD

`security: starttls` (port 587) is the default, `tls` (465) encrypts from the start, `none` (25) is for a relay on this
machine; certificates are checked. The Message-ID is made of the notification's id, so that a mail sent twice after an
answer was lost is the same mail, which many systems show once. Replies to an incident's first mail name it, and are
shown in one thread.
A 4xx of the server means later, a 5xx never. Some of several recipients refused: the receipt says which (`degraded`).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import smtplib
import ssl
import threading
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from email.utils import format_datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from pydantic import ConfigDict, Field, SecretStr, StringConstraints, field_validator, model_validator

from notifiers._facts import facts_of, push_text, several_text, stamps
from notifiers._proxy import LOOPBACK
from notifiers._words import clip, one_line
from tocsin.errors import DeliveryError, Refused, Unavailable, Uncertain
from tocsin.model import Action, Notification, Receipt
from tocsin.ports import Health, NotifierContext, NotifierSettings, NotifierSpec, secret_text

_FOLDER: Final = Path(__file__).parent / "templates"
_PORTS: Final[Mapping[str, int]] = {"starttls": 587, "tls": 465, "none": 25}
_LISTED: Final = 50
T = TypeVar("T")
Address = Annotated[str, StringConstraints(pattern=r"^[^@\s<>,;:\"]+@[A-Za-z0-9.-]+$", max_length=254)]


class EmailSettings(NotifierSettings):
    """To whom, from whom, and through which server."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    to: tuple[Address, ...] = Field(min_length=1, max_length=50, description="who gets the mails")
    sender: Address = Field(alias="from", description="the address that they come from")
    host: str = Field(min_length=1, description="the SMTP server")
    port: int | None = Field(default=None, ge=1, le=65535, description="default: 587, 465 or 25, by security")
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str = ""
    password_env: str | None = Field(default=None, description="the variable with the password")
    password_file: Path | None = Field(default=None, description="a file with the password, read anew for each mail")
    password: SecretStr | None = Field(default=None, description="prefer password_env or password_file")
    timezone: str = "UTC"

    @field_validator("timezone")
    @classmethod
    def _is_a_zone(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"no such time zone: {timezone!r}; write it like Europe/Berlin or UTC") from None
        return timezone

    @model_validator(mode="after")
    def _is_safe(self) -> EmailSettings:
        given = [name for name in ("password_env", "password_file", "password") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are given; keep one of them")
        if bool(given) != bool(self.username):
            raise ValueError("username and a password belong together; give both or neither")
        if self.security == "none" and given and self.host not in LOOPBACK:
            raise ValueError("security: none would send the password in clear; use starttls or tls")
        return self

    def read_password(self, folder: Path) -> str:
        """The password as it is now, empty for none. Raises Refused."""
        if self.password_file is not None:
            path = folder / self.password_file
            try:
                return path.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise Refused(f"can't read the password: {error}", mend=f"write the password to {path}") from error
        if self.password_env is not None:
            password = os.environ.get(self.password_env, "")
            if not password:
                mend = f"set {self.password_env} in the daemon's environment"
                raise Refused(f"the variable {self.password_env} is not set", mend=mend)
            return password
        return secret_text(self.password)


class _Attempt:
    """Settles between the thread that sends and the loop that waits which of them was first.

    Before the body is sent, giving up is certain: the thread will stop. After that nobody knows.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given_up = False
        self.committed = False

    def commit(self) -> None:
        """From here on the mail may arrive. Raises Unavailable when it was given up before."""
        with self._lock:
            if self._given_up:
                raise Unavailable("given up before the mail was sent")
            self.committed = True

    def give_up(self) -> bool:
        """True when the mail will certainly not be sent."""
        with self._lock:
            self._given_up = not self.committed
            return self._given_up


class EmailNotifier:
    """Sends mails; smtplib blocks, so it runs in a thread."""

    def __init__(self, settings: EmailSettings, context: NotifierContext) -> None:
        self._settings = settings
        self._context = context

    async def send(self, notification: Notification, parent: Receipt | None) -> Receipt:
        """Send one mail; the server's answer to its body is the receipt. Raises a DeliveryError."""
        settings = self._settings
        mail = mail_of(notification, parent, settings, console_url=self._context.console_url)
        mail["Date"] = format_datetime(self._context.clock.now())
        refused = await self._within(lambda attempt: self._deliver(mail, attempt))
        left_out = "; ".join(f"not to {address}: {code} {said}" for address, (code, said) in refused.items())
        return Receipt(
            notification=notification.id,
            notifier=settings.name,
            incident=notification.incident.id,
            action=notification.action,
            at=self._context.clock.now(),
            destination=", ".join(address for address in settings.to if address not in refused)[:500],
            ref=str(mail["Message-ID"]),
            degraded=left_out[:500],
        )

    async def find(self, notification: Notification, parent: Receipt | None) -> Receipt | None:
        """A mailbox can't be asked: None, so that the same mail is sent again."""
        return None

    async def check(self) -> Health:
        """Connect, encrypt and sign in; no mail is sent."""
        settings = self._settings
        try:
            await self._within(lambda attempt: self._connect().close())
        except DeliveryError as error:
            mend = error.mend if isinstance(error, Refused) else "check host, port and the firewall between"
            return Health(ok=False, what=str(error), mend=mend)
        return Health(ok=True, what=f"{settings.host} takes mail from {settings.sender}, as far as can be seen")

    async def close(self) -> None:
        """There is a connection for each mail only."""

    async def _within(self, work: Callable[[_Attempt], T]) -> T:
        """`work` in a thread, until a little before the deadline. Raises a DeliveryError."""
        attempt = _Attempt()
        try:
            async with asyncio.timeout(0.9 * self._settings.deadline):
                return await asyncio.to_thread(work, attempt)
        except TimeoutError as error:
            if attempt.give_up():
                raise Unavailable(f"{self._settings.host} did not answer in time") from error
            raise Uncertain(f"{self._settings.host} did not answer after the mail was sent") from error
        except (OSError, smtplib.SMTPException) as error:
            raise error_of(error, self._settings.host, committed=attempt.committed) from error

    def _connect(self) -> smtplib.SMTP:
        settings = self._settings
        password = settings.read_password(self._context.folder)
        port, limit = settings.port or _PORTS[settings.security], 0.9 * settings.deadline
        if settings.security == "tls":
            trust = ssl.create_default_context()
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(settings.host, port, timeout=limit, context=trust)
        else:
            smtp = smtplib.SMTP(settings.host, port, timeout=limit)
        try:
            if settings.security == "starttls":
                smtp.starttls(context=ssl.create_default_context())
            if settings.username:
                smtp.login(settings.username, password)
        except BaseException:
            smtp.close()
            raise
        return smtp

    def _deliver(self, mail: EmailMessage, attempt: _Attempt) -> dict[str, tuple[int, str]]:
        """The recipients that were refused. Raises smtplib's errors."""
        smtp = self._connect()
        try:
            smtp.ehlo_or_helo_if_needed()
            code, said = smtp.mail(self._settings.sender)
            if code != 250:
                raise smtplib.SMTPSenderRefused(code, said, self._settings.sender)
            refused: dict[str, tuple[int, str]] = {}
            for address in self._settings.to:
                code, said = smtp.rcpt(address)
                if code not in (250, 251):
                    refused[address] = (code, said.decode("utf-8", "replace"))
            if len(refused) == len(self._settings.to):
                raise smtplib.SMTPRecipientsRefused({to: (code, said.encode()) for to, (code, said) in refused.items()})
            self._context.permit()
            attempt.commit()
            code, said = smtp.data(mail.as_bytes(policy=mail.policy.clone(linesep="\r\n")))
            if code != 250:
                raise smtplib.SMTPDataError(code, said)
            return refused
        finally:
            # A polite QUIT would wait for an answer; the mail is taken or refused by now.
            smtp.close()


def error_of(error: Exception, host: str, *, committed: bool) -> DeliveryError:
    """What a failure of SMTP means. `committed`: the body was on its way."""
    said = f"{host}: {type(error).__name__}: {error}"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()]
        if any(400 <= code < 500 for code in codes):
            return Unavailable(f"{host} takes no mail for anybody now: {error.recipients}")
        return Refused(f"{host} takes no mail for anybody: {error.recipients}", mend="check the addresses in `to`")
    if isinstance(error, smtplib.SMTPAuthenticationError) and error.smtp_code >= 500:
        return Refused(f"{host} refuses the sign-in ({error.smtp_code})", mend="check username and password")
    if isinstance(error, smtplib.SMTPResponseException):
        if error.smtp_code >= 500:
            return Refused(said, mend=f"ask whoever runs {host} why it refuses this mail")
        return Unavailable(said)
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return Refused(said, mend="set security and username to what the server offers")
    if isinstance(error, ssl.SSLCertVerificationError):
        return Refused(said, mend=f"give {host} a certificate that this machine trusts, or set the right host")
    return Uncertain(said) if committed else Unavailable(said)


def mail_of(
    notification: Notification, parent: Receipt | None, settings: EmailSettings, *, console_url: str = ""
) -> EmailMessage:
    """The mail but for its date. Pure."""
    zone, now = ZoneInfo(settings.timezone), notification.created_at
    facts = facts_of(notification.incident, now, zone=zone, console_url=console_url)
    several = len(notification.incidents) > 1 or notification.action is Action.DIGEST
    listed = notification.incidents[:_LISTED] if several else ()
    text = _template().render(
        facts=facts,
        several=several_text(notification) if several else "",
        listed=[facts_of(incident, now, zone=zone) for incident in listed],
        unlisted=len(notification.incidents) - len(listed) if several else 0,
        because=one_line(notification.because, 200),
        mentions=[one_line(mention.id or mention.kind, 60) for mention in notification.mentions],
        stamps=stamps(notification.timeline, zone),
    )
    mail = EmailMessage()
    mail["From"], mail["To"] = settings.sender, ", ".join(settings.to)
    mail["Subject"] = clip(several_text(notification) if several else push_text(facts), 150)
    mail["Message-ID"] = message_id(notification.id, settings.sender)
    if parent is not None and parent.notifier == settings.name and parent.ref.startswith("<"):
        mail["In-Reply-To"] = mail["References"] = parent.ref
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Tocsin-Incident"] = one_line(notification.incident.id, 100)
    mail.set_content(text)
    return mail


def message_id(notification: str, sender: str) -> str:
    """The same for the same notification."""
    digest = hashlib.blake2b(notification.encode("utf-8", "replace"), digest_size=16).hexdigest()
    return f"<{digest}@{sender.rpartition('@')[2]}>"


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(loader=FileSystemLoader(_FOLDER), autoescape=False, undefined=StrictUndefined)  # noqa: S701
    environment.trim_blocks = environment.lstrip_blocks = True
    return environment.get_template("email.j2")


SPEC = NotifierSpec(kind="email", settings=EmailSettings, build=EmailNotifier)
