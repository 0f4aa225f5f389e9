"""One request, taken apart: how long name lookup, connection, TLS and the first byte took, and what came back.

aiohttp's tracing tells lookup, connection and headers apart, but not the TLS handshake from the TCP connection before
it. The handshake begins when asyncio asks the SSLContext for a TLS object, so our context notes that moment.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from time import perf_counter
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from collectors.endpoint.answer import Answer, Reason
from collectors.endpoint.settings import Target, Tls
from collectors.endpoint.wire import NoSuchName, greeted
from tocsin.model import Seconds

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_RESOLVER_THREADS: Final = 32


@dataclass(slots=True)
class Stopwatch:
    """The phases of one probe as they complete."""

    phases: dict[str, Seconds] = field(default_factory=dict)
    began: dict[str, Seconds] = field(default_factory=dict)
    handshakes: list[ssl.SSLObject] = field(default_factory=list)

    def begin(self, phase: str) -> None:
        self.began[phase] = perf_counter()

    def end(self, phase: str) -> None:
        if (began := self.began.pop(phase, None)) is not None:
            self.phases[phase] = self.phases.get(phase, 0.0) + perf_counter() - began


_watch: ContextVar[Stopwatch | None] = ContextVar("endpoint_stopwatch", default=None)


class _TimedContext(ssl.SSLContext):
    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        connection = super().wrap_bio(*args, **kwargs)
        if (watch := _watch.get()) is not None:
            watch.end("connect")
            watch.begin("tls")
            watch.handshakes.append(connection)
        return connection


class Resolver(AbstractResolver):
    """Lookups in threads of their own: a dead name server holds up no other collector's threads."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_RESOLVER_THREADS, thread_name_prefix="endpoint-dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            found = await asyncio.get_running_loop().run_in_executor(
                self._threads, lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
            )
        except UnicodeError as error:  # a label that is too long or empty: no such name can exist
            raise socket.gaierror(socket.EAI_NONAME, str(error)) from None
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return [
            ResolveResult(hostname=host, host=str(address[0]), port=port, family=family_, proto=proto, flags=flags)
            for family_, _, proto, _, address in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class Prober:
    """Makes the requests. Open one inside a running loop, close it there."""

    def __init__(self, *, body_limit: int) -> None:
        self._body_limit = body_limit
        self._contexts: dict[Tls, ssl.SSLContext] = {}
        self._resolver = Resolver()
        self._session = aiohttp.ClientSession(
            # limit=0: how many run at once is the collector's decision. A connection serves one probe.
            connector=aiohttp.TCPConnector(limit=0, force_close=True, use_dns_cache=False, resolver=self._resolver),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            headers={"user-agent": "tocsin-endpoint"},
            trace_configs=[_tracing()],
        )

    async def close(self) -> None:
        await self._session.close()
        await self._resolver.close()

    async def probe(self, target: Target, secrets: Mapping[str, str], deadline: Seconds) -> Answer:
        """Ask `target` once; whatever happens on the way is in the Answer.

        `secrets` are headers for the target's own origin. Raises OSError and ssl.SSLError for a CA or certificate file
        of the settings that can't be read.
        """
        context = self.prepare(target.tls)
        watch = Stopwatch()
        _watch.set(watch)
        began = perf_counter()
        status, body, failure = None, "", None
        expiry: list[Seconds] = []
        try:
            async with asyncio.timeout(deadline):
                try:
                    if target.is_http:
                        status, body = await self._ask(target, secrets, context, watch)
                    else:
                        body = await self._greeted(target, context, watch)
                except aiohttp.ClientConnectorCertificateError as error:
                    # The probe has failed by now; its certificate is looked at within what is left of its time.
                    failure = Reason.TLS
                    expiry += await _expiry_shown_by(error.host, error.port)
        except TimeoutError:
            failure = failure or Reason.TIMEOUT
        except (aiohttp.ClientError, OSError) as error:
            failure = _reason_for(error, watch)
        total = perf_counter() - began
        expiry += [seconds for seconds in map(_expiry_of, watch.handshakes) if seconds is not None]
        return Answer(
            total=total,
            phases=watch.phases,
            failure=failure,
            status=None if failure else status,
            is_http=target.is_http,
            body=body,
            certificate_expires_at=min(expiry, default=None),
        )

    async def _ask(
        self, target: Target, secrets: Mapping[str, str], context: ssl.SSLContext, watch: Stopwatch
    ) -> tuple[int, str]:
        """The final status and body, after redirects. aiohttp's own redirects would take secret headers along."""
        url, method, data = URL(target.url), target.method, target.body
        origin = url.origin()
        for _ in range(target.max_redirects + 1):
            headers = {**target.headers, **(secrets if url.origin() == origin else {})}
            async with self._session.request(
                method,
                url,
                headers=headers,
                data=data,
                ssl=context,
                allow_redirects=False,
                trace_request_ctx=watch,
            ) as response:
                where = response.headers.get("location")
                if not (target.follow_redirects and where and response.status in _REDIRECTS):
                    return response.status, await self._body(response, keep=target.expect.reads_body)
                url = _redirected(url, where)
                # RFC 9110, 15.4: 303 asks for a GET; so do browsers after POST for 301 and 302.
                if response.status == 303 or (response.status in (301, 302) and method == "POST"):
                    method, data = ("HEAD" if method == "HEAD" else "GET"), None
        raise _BadRedirect

    async def _greeted(self, target: Target, context: ssl.SSLContext, watch: Stopwatch) -> str:
        url = URL(target.url)
        try:
            return await greeted(
                url, context if url.scheme == "tls" else None, self._resolver, watch, reads=target.expect.reads_body
            )
        except ssl.SSLCertVerificationError as error:
            key = SimpleNamespace(host=url.host, port=url.port, is_ssl=True, ssl=True)
            raise aiohttp.ClientConnectorCertificateError(key, error) from None  # type: ignore[arg-type]

    async def _body(self, response: aiohttp.ClientResponse, *, keep: bool) -> str:
        """Reads to the end or to the limit: an answer that stalls half-way is no answer."""
        parts: list[bytes] = []
        left = self._body_limit
        while left > 0 and (part := await response.content.read(min(left, 65_536))):
            left -= len(part)
            if keep:
                parts.append(part)
        if left <= 0:
            response.close()
        try:
            return b"".join(parts).decode(response.charset or "utf-8", "replace")
        except LookupError:
            return b"".join(parts).decode("utf-8", "replace")

    def prepare(self, tls: Tls) -> ssl.SSLContext:
        """The context for `tls`, made once: loading the system's authorities takes tens of milliseconds.

        Raises OSError and ssl.SSLError for a file that can't be read.
        """
        if (known := self._contexts.get(tls)) is not None:
            return known
        context = _TimedContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_alpn_protocols(["http/1.1"])
        if not tls.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif tls.ca_file:
            context.load_verify_locations(tls.ca_file)
        else:
            context.load_default_certs()
        if tls.cert_file:
            context.load_cert_chain(tls.cert_file, tls.key_file)
        self._contexts[tls] = context
        return context


class _BadRedirect(aiohttp.ClientError):
    """Too many redirects, or one that leads to no web address."""


def _redirected(url: URL, where: str) -> URL:
    try:
        url = url.join(URL(where))
    except ValueError:
        raise _BadRedirect from None
    if url.scheme not in ("http", "https") or not url.host:
        raise _BadRedirect
    return url


def _reason_for(error: Exception, watch: Stopwatch) -> Reason:
    if isinstance(error, _BadRedirect):
        return Reason.REDIRECT
    if isinstance(error, aiohttp.ClientConnectorDNSError | NoSuchName):
        return Reason.DNS
    # A peer that hangs up in the handshake shows as a plain connection error.
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError) or "tls" in watch.began:
        return Reason.TLS
    if isinstance(error, aiohttp.ClientConnectorError) or "connect" in watch.began:
        return Reason.CONNECT
    return Reason.PROTOCOL


def _tracing() -> aiohttp.TraceConfig:
    """Feeds the probe's stopwatch, which is the request's `trace_request_ctx`."""

    def on(**marks: str) -> Any:
        async def note(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
            watch: Stopwatch = context.trace_request_ctx
            for what, phase in marks.items():
                (watch.end if what.startswith("end") else watch.begin)(phase)

        return note

    trace = aiohttp.TraceConfig()
    trace.on_dns_resolvehost_start.append(on(begin="dns"))
    # The connection begins when the name is known, or at once when the URL holds an address.
    trace.on_connection_create_start.append(on(begin="connect"))
    trace.on_dns_resolvehost_end.append(on(end="dns", begin="connect"))
    # With TLS `connect` has ended at the handshake's begin, and this ends `tls`.
    trace.on_connection_create_end.append(on(end="connect", end_tls="tls"))
    trace.on_request_headers_sent.append(on(begin="first_byte"))
    trace.on_request_end.append(on(end="first_byte"))
    return trace


async def _expiry_shown_by(host: str, port: int | None) -> list[Seconds]:
    """When the certificate expires that could not be trusted: asked again, without checking it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    except OSError:
        return []
    try:
        expiry = _expiry_of(writer.get_extra_info("ssl_object"))
    finally:
        writer.transport.abort()
    return [] if expiry is None else [expiry]


def _expiry_of(connection: ssl.SSLObject) -> Seconds | None:
    try:
        certificate = connection.getpeercert(binary_form=True)
    except ValueError:  # the handshake did not complete
        return None
    return None if certificate is None else _not_after(certificate)


@lru_cache(maxsize=4096)
def _not_after(certificate: bytes) -> Seconds | None:
    # Loaded with the first certificate: it weighs 9 MB, and who probes plain HTTP only need not carry it.
    from cryptography import x509

    try:
        return x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp()
    except ValueError:  # OpenSSL took what cryptography can't parse
        return None
