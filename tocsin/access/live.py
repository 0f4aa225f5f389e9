"""Is the session still there? Asked of Supabase, because a token outlives sign-out, ban and deletion by up to its life.

    live = LiveSessions(f"{base}/auth/v1", api_key, session)
    await live.check(token, principal, now)        # the principal with today's address, or a Refusal

An answer holds for `ttl`, by session and not by token. Where Supabase does not answer, the last good one holds for
`stale_for`, then it is 503. The address is taken from the answer: the token's own may be of before an e-mail change.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import aiohttp
import orjson
import structlog

from tocsin.access.fetch import HttpAnswer, NoAnswer, get
from tocsin.access.verdicts import NotAllowed, Principal, Reason, Refusal, Unavailable, Unproven
from tocsin.model import Seconds

MOST_BYTES: Final = 262_144
MOST_SESSIONS: Final = 10_000
_GONE: Final = frozenset({"session_not_found", "session_expired", "user_not_found"})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Live:
    """What Supabase said of a session's user."""

    sub: str
    email: str


@dataclass(frozen=True, slots=True)
class _Known:
    answer: _Live | Refusal
    at: datetime


class LiveSessions:
    """Asks `/user` for each session, once in `ttl`. `session` is the caller's to close."""

    def __init__(
        self,
        auth_url: str,
        api_key: str,
        session: aiohttp.ClientSession,
        *,
        ttl: Seconds = 10.0,
        stale_for: Seconds = 60.0,
        deadline: Seconds = 3.0,
    ) -> None:
        self._url = f"{auth_url.rstrip('/')}/user"
        self._api_key = api_key
        self._session = session
        self._ttl, self._stale_for = timedelta(seconds=ttl), timedelta(seconds=stale_for)
        self._deadline = deadline
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._asking: dict[str, asyncio.Task[_Live | Refusal]] = {}

    async def check(self, token: str, principal: Principal, now: datetime) -> Principal | Refusal:
        """`principal` with the address Supabase knows today; a Refusal when the session has ended or can't be asked."""
        answer = await self._answer(token, principal.session_id, now)
        if isinstance(answer, Refusal):
            return replace(answer, sub=principal.sub)
        if answer.sub != principal.sub:
            return Unproven(reason=Reason.SIGNED_OUT, because="Supabase knows the token as another user's")
        return replace(principal, email=answer.email)

    def purge(self, session_id: str | None = None) -> None:
        """Ask anew: for one session (it signed out here), or for all."""
        if session_id is None:
            self._known.clear()
        else:
            self._known.pop(session_id, None)

    async def _answer(self, token: str, session_id: str, now: datetime) -> _Live | Refusal:
        known = self._known.get(session_id)
        if known is not None and timedelta(0) <= now - known.at < self._ttl:
            return known.answer
        task = self._asking.get(session_id)
        if task is None:
            task = self._asking[session_id] = asyncio.create_task(self._ask(token))
            task.add_done_callback(lambda _: self._asking.pop(session_id, None))
        answer = await asyncio.shield(task)
        if isinstance(answer, Unproven) and answer.reason is Reason.BAD_SIGNATURE:
            return answer  # about this token: another one of the session may be good
        if not isinstance(answer, Unavailable):
            self._known[session_id] = _Known(answer, now)
            self._known.move_to_end(session_id)
            while len(self._known) > MOST_SESSIONS:
                self._known.popitem(last=False)
            return answer
        if known is not None and timedelta(0) <= now - known.at < self._ttl + self._stale_for:
            return known.answer
        return answer

    async def _ask(self, token: str) -> _Live | Refusal:
        headers = {
            "apikey": self._api_key,
            "Authorization": f"Bearer {token}",
            "X-Supabase-Api-Version": "2024-01-01",
        }
        try:
            got = await get(self._session, self._url, headers=headers, deadline=self._deadline, most_bytes=MOST_BYTES)
        except NoAnswer as error:
            return self._unknown(str(error))
        answer = _read(got)
        return self._unknown(answer) if isinstance(answer, str) else answer

    def _unknown(self, why: str) -> Unavailable:
        log.warning("access.session_not_checked", why=why)
        return Unavailable(reason=Reason.NO_LIVE_ANSWER, because=why)


def _read(got: HttpAnswer) -> _Live | Refusal | str:
    """What an answer means; a text where it means nothing about the session."""
    try:
        body = orjson.loads(got.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return f"/user answered {got.status} without a JSON object"
    if got.status == 200:
        return _live(body)
    code = body.get("error_code") or body.get("code")
    if code == "user_banned":
        return NotAllowed(reason=Reason.BANNED, because="the user is banned")
    if got.status in (401, 403, 404) and code in _GONE:
        return Unproven(reason=Reason.SIGNED_OUT, because=f"Supabase says {code}")
    if got.status in (401, 403) and code == "bad_jwt":
        return Unproven(reason=Reason.BAD_SIGNATURE, because="Supabase does not take the token")
    # A 401 of the gateway is about our apikey, and would lock everybody out as if they had signed out.
    return f"/user answered {got.status}" + (": is the configured API key right?" if got.status == 401 else "")


def _live(user: dict[str, Any]) -> _Live | Refusal | str:
    sub, email = user.get("id"), user.get("email") or ""
    if not isinstance(sub, str) or not isinstance(email, str):
        return "/user answered without an id"
    if user.get("is_anonymous", False) is not False:
        return NotAllowed(reason=Reason.ANONYMOUS, because="an anonymous sign-in")
    if email and not user.get("email_confirmed_at"):
        return NotAllowed(reason=Reason.NOT_CONFIRMED, because="the address was never confirmed")
    return _Live(sub.lower(), email)
