"""What the door answers: somebody known, or a refusal whose reason is for the log only.

A refusal's class says what the client is told, and no more: 401 for who is unproven, 403 for who is known and not
allowed, 503 while the answer can't be known. `reason` is a constant for logs and metrics, `because` a line for the
operator; neither leaves the process, because each detail helps whoever tries tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from tocsin.model import Seconds


class Reason(StrEnum):
    """Why somebody was refused."""

    # Nothing to go by
    NO_CREDENTIAL = "no_credential"
    SEVERAL_CREDENTIALS = "several_credentials"
    NOT_BEARER = "not_bearer"
    # Before any key is touched
    TOO_LONG = "too_long"
    MALFORMED = "malformed"
    UNWANTED_HEADER = "unwanted_header"
    ODD_TYPE = "odd_type"
    WRONG_ALGORITHM = "wrong_algorithm"
    UNKNOWN_KEY = "unknown_key"
    # After the signature
    BAD_SIGNATURE = "bad_signature"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_AUDIENCE = "wrong_audience"
    EXPIRED = "expired"
    FROM_THE_FUTURE = "from_the_future"
    LIVES_TOO_LONG = "lives_too_long"
    NO_SUBJECT = "no_subject"
    NO_SESSION = "no_session"
    WRONG_ROLE = "wrong_role"
    ANONYMOUS = "anonymous"
    THIRD_PARTY = "third_party"
    # Asked of Supabase
    SIGNED_OUT = "signed_out"
    BANNED = "banned"
    NOT_CONFIRMED = "not_confirmed"
    WEAK_SIGN_IN = "weak_sign_in"
    # The allowlist
    NOT_LISTED = "not_listed"
    DENIED = "denied"
    BAD_ADDRESS = "bad_address"
    ROLE_TOO_LOW = "role_too_low"
    # Nobody's fault
    NO_KEYS = "no_keys"
    NO_LIVE_ANSWER = "no_live_answer"
    NO_LIST = "no_list"


@dataclass(frozen=True, kw_only=True, slots=True)
class Principal:
    """Who a verified token speaks for. Nothing here comes from user_metadata, which users write themselves."""

    sub: str
    """The user's id, a UUID in lower case."""
    email: str
    """As the token has it; empty for users who signed up by phone. Whether they own it is for `live` to say."""
    role: str
    """The database role, `authenticated`. What somebody may do in the console is the allowlist's to say."""
    aal: str
    """`aal1`, or `aal2` after a second factor."""
    session_id: str
    """What sign-outs and revocations go by: one session has many tokens, and one token many spellings."""
    issued_at: datetime
    expires_at: datetime
    methods: tuple[str, ...] = ()
    """How the session was opened: password, otp, oauth, totp."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """No; use one of the classes below."""

    status: ClassVar[int] = 401

    reason: Reason
    because: str = ""
    """One line for the operator. Never the token, never a secret."""
    sub: str = ""
    """Whose token it was, once the signature has proven that."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unproven(Refusal):
    """Who asks is not proven: 401."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NotAllowed(Refusal):
    """Who asks is proven, and may not: 403."""

    status: ClassVar[int] = 403


@dataclass(frozen=True, kw_only=True, slots=True)
class Unavailable(Refusal):
    """Who may come in can't be known at the moment: 503, and ask again."""

    status: ClassVar[int] = 503

    retry_after: Seconds = field(default=5.0)
