"""A line of Supabase Auth's log → what it means. Pure.

A line becomes an Event; what is counted of it is its Meaning. There are few meanings and millions of lines, so a
meaning is worked out once per combination of method, route, grant, status and code, and shared; `tally` reads many
lines at once by it.

Everything that a client can choose (path, method, grant_type, error text) is mapped to a bounded set here.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any, Final, NamedTuple

import orjson

from collectors.auth_logs.routes import admin_action, route_of


class Kind(StrEnum):
    """What sort of line it is: the `outcome` of tocsin_auth_log_lines_total."""

    REQUEST = "request"
    LOGIN = "login"
    AUDIT = "audit"
    HOOK = "hook"
    ATTEMPT = "attempt"
    IGNORED = "ignored"
    BROKEN = "broken"
    OVERSIZE = "oversize"


class Audit(NamedTuple):
    """An audit event: who (user, service_role) did what."""

    action: str
    actor: str


class Meaning:
    """What a line counts as. Compared by identity: equal lines share one."""

    __slots__ = (
        "admin", "code", "error_code", "failure", "flow", "granted", "hook", "kind", "method", "names", "outcome",
        "route",
    )  # fmt: skip

    def __init__(self, kind: Kind, **values: str) -> None:
        self.kind = kind
        self.route = values.get("route", "")
        self.code = values.get("code", "")
        """The HTTP status."""
        self.error_code = values.get("error_code", "")
        self.flow = values.get("flow", "")
        """sign_in, otp, mfa, refresh, sign_up; empty: none of them."""
        self.method = values.get("method", "")
        """Of a sign-in."""
        self.outcome = values.get("outcome", "")
        """success, failure (they were refused), error (we broke); of a hook: denied, failed."""
        self.failure = values.get("failure", "")
        """Why a credential was refused; empty: it was not."""
        self.granted = bool(values.get("granted", ""))
        """A request that signed somebody in."""
        self.admin = values.get("admin", "")
        self.hook = values.get("hook", "")
        self.names = bool(self.failure or self.granted or self.admin)
        """Whether its lines are yielded with the address."""


class Event(NamedTuple):
    """What a line means, and whom it names."""

    meaning: Meaning
    address: str = ""
    factor: str = ""
    """The factor's id, when a second factor was refused."""
    user: str = ""
    """The user's id, when the hook says that a password was wrong."""


IGNORED: Final = Event(Meaning(Kind.IGNORED))
BROKEN: Final = Event(Meaning(Kind.BROKEN))
OVERSIZE: Final = Event(Meaning(Kind.OVERSIZE))

_ACTION_NAMES: Final = (
    "login logout invite_accepted user_signedup user_invited user_deleted token_revoked token_refreshed user_modified "
    "user_recovery_requested user_reauthenticate_requested user_confirmation_requested user_repeated_signup "
    "user_updated_password identity_linked identity_unlinked passkey_created passkey_updated passkey_deleted "
    "factor_in_progress factor_unenrolled challenge_created verification_attempted factor_deleted factor_updated "
    "generate_recovery_codes recovery_codes_deleted mfa_code_login"
)
ACTIONS: Final = frozenset(_ACTION_NAMES.split())
METHODS: Final = frozenset(
    ("anonymous", "sso", "oauth", "web3", "implicit", "oidc", "otp", "password", "pkce", "passkey")
)
"""Login methods that are sign-ins; `token` is a refresh and `mfa` a second step. Source: metering/record.go."""
_GRANTS: Final = {"password": "password", "pkce": "pkce", "id_token": "oidc", "web3": "web3"}
_REFUSED: Final = frozenset(("invalid_credentials", "email_not_confirmed", "phone_not_confirmed", "user_banned"))
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_HOOK_BROKE: Final = re.compile(r"5\d\d: |.*(SQLSTATE|ERROR:)")
KNOWN: Final = 4096
"""Combinations that are remembered at most; strangers' words must not fill the memory."""


def read_line(line: bytes) -> Event:
    """The event that `line` holds; BROKEN for what is no JSON object, IGNORED for what says nothing we count."""
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return BROKEN
    return read_fields(fields) if type(fields) is dict else BROKEN


def read_fields(fields: dict[str, Any]) -> Event:
    """The event of a line that was parsed."""
    if type(fields.get("status")) is int and "path" in fields:
        return _request(fields)
    match fields.get("msg"):
        case "audit_event":
            return _audit_line
        case "Login" if fields.get("metering"):
            return _login(fields)
        case "Hook errored out":
            return _hook(fields)
        case _:
            return attempt_in(fields)


_requests: dict[tuple[Any, ...], Meaning] = {}


def _request(fields: dict[str, Any]) -> Event:
    path, status, code = fields["path"], fields["status"], fields.get("error_code")
    route = route_of(path if type(path) is str else "")
    key = (fields.get("method"), route, fields.get("grant_type"), status, code or _guessed(status, fields))
    try:
        meaning = _requests.get(key)
    except TypeError:  # a list or object where GoTrue writes a word
        return BROKEN
    if meaning is None:
        if len(_requests) >= KNOWN:
            _requests.clear()
        method, _, grant, _, code = key
        meaning = _meaning(_word(method), route, _word(grant), status, _word(code))
        _requests[key] = meaning
    factor = path.removeprefix("/auth/v1").split("/")[2] if meaning.failure and meaning.flow == "mfa" else ""
    return Event(meaning, text_of(fields, "remote_addr") if meaning.names else "", factor)


def _guessed(status: int, fields: dict[str, Any]) -> str:
    """Versions before 2.150 wrote no error_code for the commonest failure of all."""
    error = fields.get("error") if status == 400 else None
    return "invalid_credentials" if type(error) is str and "Invalid login credentials" in error else ""


def _meaning(method: str, route: str, grant: str, status: int, code: str) -> Meaning:
    if not 100 <= status <= 599:
        return BROKEN.meaning
    code = code if not code or _CODE.fullmatch(code) else "other"
    values = {"route": route, "code": str(status), "error_code": code, "admin": admin_action(method, route, status)}
    ok, refused, broke = status < 400, 400 <= status < 500 and status != 429, status >= 500
    outcome = "success" if ok else "failure" if refused else "error" if broke else ""
    values |= {"flow": "", "outcome": outcome}
    if route == "/token" and grant == "refresh_token":
        values |= {"flow": "refresh", "failure": (code or "unknown") if refused else ""}
    elif route == "/token" and grant in _GRANTS:
        # A success is counted by its Login line. A request that was malformed or failed its captcha tried nothing.
        tried = code in _REFUSED if grant == "password" else refused and code not in ("captcha_failed", "bad_json")
        if tried or broke:
            values |= {"flow": "sign_in", "method": _GRANTS[grant], "failure": (code or "unknown") if tried else ""}
        elif ok:
            values["granted"] = "yes"
    elif route == "/verify" and code == "otp_expired":
        # A link answers 303 and says it in the address it leads to; a code answers 403.
        values |= {"flow": "otp", "method": "otp", "outcome": "failure", "failure": code}
    elif route == "/verify" and broke:
        values |= {"flow": "otp", "method": "otp"}
    elif route == "/verify" and status == 200:
        values["granted"] = "yes"
    elif route == "/factors/{id}/verify" and (ok or broke or code.startswith("mfa_")):
        values |= {"flow": "mfa", "failure": code if refused else ""}
    elif route == "/signup":
        values["flow"] = "sign_up"
    return Meaning(Kind.REQUEST, **values)


_logins = {method: Meaning(Kind.LOGIN, flow="sign_in", method=method, outcome="success") for method in METHODS}
_logins |= {method: Meaning(Kind.LOGIN) for method in ("token", "mfa")}
_other_login: Final = Meaning(Kind.LOGIN, flow="sign_in", method="other", outcome="success")


def _login(fields: dict[str, Any]) -> Event:
    return Event(_logins.get(text_of(fields, "login_method"), _other_login))


AUDIT: Final = Meaning(Kind.AUDIT)
_audit_line: Final = Event(AUDIT)
_audits: Final = {
    (action, admin): Audit(action, "service_role" if admin else "user")
    for action in (*ACTIONS, "other")
    for admin in (True, False)
}


def audited_by(audit: dict[str, Any]) -> Audit:
    """What the body of an audit event says."""
    # An administrator's call has no user: the id is all zeros and the name is the role's.
    admin = audit.get("actor_username") == "service_role"
    try:
        return _audits[audit["action"], admin]
    except (KeyError, TypeError):  # none, one that we don't know, or a list where GoTrue writes a word
        return _audits["other", admin]


_hooks: dict[tuple[str, str], Meaning] = {}


def _hook(fields: dict[str, Any]) -> Event:
    # pg-functions://postgres/<schema>/<function>, or the URL of an HTTP hook: its last part names it.
    name = text_of(fields, "hook").partition("?")[0].rstrip("/").rpartition("/")[2][:64] or "unknown"
    key = (name, "failed" if _HOOK_BROKE.match(text_of(fields, "error")) else "denied")
    if (meaning := _hooks.get(key)) is None:
        if len(_hooks) >= KNOWN:
            _hooks.clear()
        meaning = _hooks[key] = Meaning(Kind.HOOK, hook=name, outcome=key[1])
    return Event(meaning)


_attempts: Final = {valid: Meaning(Kind.ATTEMPT) for valid in (True, False)}


def attempt_in(fields: dict[str, Any]) -> Event:
    """What Auth passes to the hook password_verification_attempt, where whoever answers it writes it to this log."""
    metadata, valid = fields.get("metadata"), fields.get("valid")
    if type(metadata) is not dict or metadata.get("name") != "password-verification-attempt" or type(valid) is not bool:
        return IGNORED
    return Event(_attempts[valid], text_of(metadata, "ip_address"), user="" if valid else text_of(fields, "user_id"))


def _word(value: Any) -> str:
    return value if type(value) is str else ""


def text_of(fields: dict[str, Any], name: str) -> str:
    """Empty for what is no text."""
    return _word(fields.get(name))
