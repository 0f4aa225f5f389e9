"""One probe of one target: what came back, and how long each phase of it took."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter
from typing import Final

import aiohttp
from aiohttp import CookieJar
from yarl import URL

from collectors.endpoint import name_server
from collectors.endpoint.answer import Answer, body_fits
from collectors.endpoint.certificates import expiry_of, expiry_shown_by, untrusted
from collectors.endpoint.exchange import Request, Way
from collectors.endpoint.faults import of_certificate, of_timeout, reason_for
from collectors.endpoint.http1 import Http1
from collectors.endpoint.http2 import ALPN, Http2
from collectors.endpoint.journey import CLEANING, Journey, answered
from collectors.endpoint.resolver import Resolver
from collectors.endpoint.stopwatch import Stopwatch, TimedContext, running
from collectors.endpoint.target import Target, Tls
from collectors.endpoint.wire import greeted
from tocsin.model import Seconds

_NOTHING: Final = Answer(total=0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Secrets:
    """What is read from the environment and from files before a probe; never shown."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """For the target's own origin."""
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """For a journey's steps."""


class Prober:
    """Makes the probes. Open one inside a running loop, close it there."""

    def __init__(self, *, body_limit: int) -> None:
        self._contexts: dict[tuple[Tls, int], ssl.SSLContext] = {}
        self._resolver = Resolver()
        self._http1 = Http1(self._resolver, body_limit=body_limit)
        self._http2 = Http2(self._resolver, body_limit=body_limit)
        self._cleaning: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """What still cleans up is waited for; it has a deadline."""
        await asyncio.gather(*self._cleaning, return_exceptions=True)
        await self._http1.close()
        await self._resolver.close()

    async def probe(self, target: Target, secrets: Secrets, deadline: Seconds) -> Answer:
        """Ask `target` once; whatever happens on the way is in the Answer.

        Raises OSError and ssl.SSLError for a CA or certificate file of the settings that can't be read.
        """
        watch = Stopwatch()
        context = self.prepare(target.tls, target.http)
        running.set(watch)
        way = Way(
            exchange=self._http2 if target.http == 2 else self._http1,
            context=context,
            watch=watch,
            secrets=secrets.headers,
            origin=_origin(target),
            most=target.max_redirects,
            jar=CookieJar(unsafe=True) if target.steps else None,
        )
        if target.steps:
            found = await self._journey(target, way, secrets, deadline)
        else:
            found = await self._single(target, way, deadline)
        expiry = [found.certificate_expires_at, *map(expiry_of, watch.handshakes)]
        return replace(
            found,
            phases=watch.phases,
            is_http=target.is_http,
            certificate_expires_at=min((one for one in expiry if one is not None), default=None),
        )

    async def _single(self, target: Target, way: Way, deadline: Seconds) -> Answer:
        failure, found, expiry, began = None, _NOTHING, list[Seconds](), perf_counter()
        timed_out = False
        try:
            async with asyncio.timeout(deadline):
                try:
                    found = await self._asked(target, way)
                except aiohttp.ClientConnectorCertificateError as error:
                    # The probe has failed by now; its certificate is looked at within what is left of its time.
                    failure = of_certificate(error)
                    expiry += await expiry_shown_by(error.host, error.port)
        except TimeoutError:
            timed_out = failure is None
            failure = failure or of_timeout(way.watch)
        except (aiohttp.ClientError, OSError) as error:
            failure = reason_for(error, way.watch)
        return replace(
            found if failure is None else _NOTHING,
            total=perf_counter() - began,
            failure=failure,
            timed_out=timed_out,
            certificate_expires_at=min(expiry, default=None),
        )

    async def _asked(self, target: Target, way: Way) -> Answer:
        url = URL(target.url)
        if target.is_http:
            request = Request(method=target.method, url=url, headers=target.headers, body=target.body)
            return answered(await way.ask(request, follow=target.follow_redirects, keep=target.expect.reads_body), 0.0)
        if target.kind == "dns":
            return Answer(
                total=0.0, found=await name_server.asked(name_server.question(target.url), self._resolver, way.watch)
            )
        try:
            said = await greeted(
                url, way.context if url.scheme == "tls" else None, self._resolver, way.watch,
                partial(body_fits, target.expect) if target.expect.reads_body else None,
            )  # fmt: skip
        except ssl.SSLCertVerificationError as error:
            raise untrusted(url.host or "", url.port or 0, error) from None
        return Answer(total=0.0, body=said)

    async def _journey(self, target: Target, way: Way, secrets: Secrets, deadline: Seconds) -> Answer:
        journey, began = Journey(target, way, secrets.variables), perf_counter()
        kept = deadline * CLEANING if target.cleanup else 0.0
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(deadline - kept):
                    await journey.go()
        except asyncio.CancelledError:
            # Nobody waits any more, and what was created is still there: close() sees to it that this ends.
            self._clean(journey, kept)
            raise
        total = perf_counter() - began
        if target.cleanup:
            await asyncio.shield(self._clean(journey, max(kept, deadline - total)))
        return Answer(total=total, status=journey.status, steps=tuple(journey.results))

    def _clean(self, journey: Journey, within: Seconds) -> asyncio.Task[None]:
        task = asyncio.create_task(_cleaned(journey, within), name="endpoint-cleanup")
        self._cleaning.add(task)
        task.add_done_callback(self._cleaning.discard)
        return task

    def prepare(self, tls: Tls, http: int) -> ssl.SSLContext:
        """The context for `tls` and a version of HTTP, made once: loading the authorities takes tens of milliseconds.

        Raises OSError and ssl.SSLError for a file that can't be read.
        """
        if (known := self._contexts.get((tls, http))) is not None:
            return known
        context = TimedContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_alpn_protocols(ALPN if http == 2 else ["http/1.1"])
        context.minimum_version = ssl.TLSVersion.TLSv1_3 if tls.min_version == "1.3" else ssl.TLSVersion.TLSv1_2
        if not tls.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif tls.ca_file:
            context.load_verify_locations(tls.ca_file)
        else:
            context.load_default_certs()
        if tls.cert_file:
            context.load_cert_chain(tls.cert_file, tls.key_file)
        self._contexts[tls, http] = context
        return context


async def _cleaned(journey: Journey, within: Seconds) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            await journey.clean()


def _origin(target: Target) -> URL:
    return URL(target.url).origin() if target.is_http else URL()
