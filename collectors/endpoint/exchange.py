"""One request and its answer, whichever HTTP carries it, and the redirects between the two."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http.cookies import BaseCookie
from typing import Final, Protocol

import aiohttp
from aiohttp import CookieJar
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from collectors.endpoint.stopwatch import Stopwatch

INFORMATIONAL: Final = 20
"""Of 1xx that may come before an answer. Servers send one or two; a flood would take the time of all other targets."""
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class NeverAnswers(aiohttp.ClientError):
    """More than INFORMATIONAL of 1xx, which announce an answer and are none."""


class BadRedirect(aiohttp.ClientError):
    """Too many redirects, one that leads to no web address, or one that would take a secret along."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What is asked."""

    method: str
    url: URL
    headers: Mapping[str, str]
    body: bytes | str | None = None
    private: frozenset[str] = frozenset()
    """Of `headers`, by their names, and "" for the body: what holds a variable, which may be a secret."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """What came back. `url` is where a redirect that was not followed leads, or else where it came from."""

    status: int
    headers: CIMultiDict[str] | CIMultiDictProxy[str]
    body: str
    url: URL


class Exchange(Protocol):
    """Makes one request on a connection of its own."""

    async def __call__(
        self, request: Request, context: ssl.SSLContext, watch: Stopwatch, *, keep: bool, skip: frozenset[int]
    ) -> Response:
        """Raises aiohttp.ClientError and OSError.

        The body is read to its end or the limit, and given where it is to `keep`; of a status to `skip` it is not read.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """How requests are made in one probe."""

    exchange: Exchange
    context: ssl.SSLContext
    watch: Stopwatch
    secrets: Mapping[str, str]
    """Headers for `origin` only."""
    origin: URL
    most: int
    """Redirects, at most."""
    jar: CookieJar | None = None
    """Cookies that are kept from one request to the next; None: none are."""

    async def ask(self, request: Request, *, follow: bool, keep: bool) -> Response:
        """The final answer. Secret headers go to their origin only, which aiohttp's own redirects don't see to; so do
        those that hold variables, and a body that does is a redirect too far (307 and 308 send it again)."""
        for _ in range(self.most + 1):
            answer = await self._once(request, follow=follow, keep=keep)
            where = answer.headers.get("location")
            if where is None or answer.status not in _REDIRECTS:
                return answer
            if not follow:
                return replace(answer, url=_joined(request.url, where) or answer.url)
            url = _joined(request.url, where)
            if url is None or url.scheme not in ("http", "https") or not url.host:
                raise BadRedirect
            method, body = request.method, request.body
            # RFC 9110, 15.4: 303 asks for a GET; so do browsers after POST for 301 and 302.
            if answer.status == 303 or (answer.status in (301, 302) and method == "POST"):
                method, body = ("HEAD" if method == "HEAD" else "GET"), None
            if url.origin() != request.url.origin():
                if body is not None and "" in request.private:
                    raise BadRedirect
                kept = {name: value for name, value in request.headers.items() if name not in request.private}
                request = replace(request, headers=kept)
            request = replace(request, url=url, method=method, body=body)
        raise BadRedirect

    async def _once(self, request: Request, *, follow: bool, keep: bool) -> Response:
        headers = dict(request.headers)
        if request.url.origin() == self.origin:
            headers.update(self.secrets)
        if self.jar is not None and (cookies := _pairs(self.jar.filter_cookies(request.url))):
            headers["cookie"] = "; ".join(cookies)
        answer = await self.exchange(
            replace(request, headers=headers), self.context, self.watch,
            keep=keep, skip=_REDIRECTS if follow else frozenset(),
        )  # fmt: skip
        if self.jar is not None:
            self.jar.update_cookies_from_headers(answer.headers.getall("set-cookie", []), request.url)
        return answer


def _pairs(cookies: BaseCookie[str]) -> list[str]:
    """As browsers send them. What a peer hid in quotes (a line break, another cookie) is left out."""
    pairs = (f"{name}={cookie.value}" for name, cookie in cookies.items())
    return [pair for pair in pairs if pair.isprintable() and ";" not in pair]


def _joined(url: URL, where: str) -> URL | None:
    try:
        return url.join(URL(where))
    except ValueError:
        return None
