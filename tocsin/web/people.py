"""People at the port: who asks, with which role, and what a role may do.

    person = person_of(request)       # in a handler behind the door; None for a service token
    person.name, person.role, person.can(Scope.ALLOWLIST_WRITE)
    person.csrf                       # the token for forms (`<input type=hidden name=csrf>`) and X-CSRF-Token; "" for
                                      # who came by a bearer token and needs none

A role is a set of scopes, so a route names scopes only, and what lets a machine in lets in a person who may do as much.
`gate.shown_token` gives a token for people, too: its note is the person's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from starlette.requests import Request

from tocsin.access.allowlist import Role
from tocsin.access.tokens import Scope, ServiceToken, allows
from tocsin.access.verdicts import Refusal

PERSON: Final = "tocsin.person"
"""Where the door leaves the person, in the ASGI scope."""

_VIEWER: Final = frozenset({Scope.METRICS_READ, Scope.QUERY_READ, Scope.ALERTS_READ})
_OPERATOR: Final = _VIEWER | {Scope.ALERTS_WRITE, Scope.INCIDENTS_WRITE}
SCOPES: Final[Mapping[Role, frozenset[Scope]]] = {
    Role.VIEWER: _VIEWER,
    Role.OPERATOR: _OPERATOR,
    Role.ADMIN: frozenset({Scope.ADMIN}),
}
"""A viewer looks; an operator silences, takes and closes; an admin says who may come in, too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Person:
    """Somebody who was let in."""

    name: str
    """The address; of a one-time link `console on this host`. What the audit calls them."""
    email: str
    """Empty for a one-time link's."""
    role: Role
    via: str
    """password, otp, oauth:NAME, link; `bearer` for an access token shown with the request."""
    session: str
    """The id that the list of sessions shows; Supabase's own for a bearer token."""
    since: datetime
    csrf: str = ""

    def can(self, scope: Scope) -> bool:
        """True when the role covers `scope`."""
        return allows(self.as_token(), scope)

    def as_token(self) -> ServiceToken:
        """What a service token of as much would be: for routes that ask for one."""
        return ServiceToken(id=self.session, digest="", scopes=SCOPES[self.role], created_at=self.since, note=self.name)


class People(Protocol):
    """Who people are: asked by the door."""

    async def by_cookie(self, cookie: str, now: datetime, *, seen: bool = True) -> Person | Refusal:
        """Whose browser shows this session cookie; `seen`: they did something, so the session is not idle."""

    async def by_bearer(self, token: str, now: datetime) -> Person | Refusal:
        """Whose access token this is."""


def person_of(request: Request) -> Person | None:
    """Who asks; None for a service token, and on a public route."""
    found = request.scope.get(PERSON)
    return found if isinstance(found, Person) else None
