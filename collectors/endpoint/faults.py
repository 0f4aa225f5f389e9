"""Why there is no answer: an error and the phase it came in, as a Reason."""

from __future__ import annotations

import ssl

import aiohttp

from collectors.endpoint.answer import Reason
from collectors.endpoint.exchange import BadRedirect
from collectors.endpoint.http2 import NotHttp2
from collectors.endpoint.resolver import NoSuchName
from collectors.endpoint.stopwatch import Stopwatch


def reason_for(error: Exception, watch: Stopwatch) -> Reason:
    """Of what a request raised, while `watch` ran."""
    if isinstance(error, BadRedirect):
        return Reason.REDIRECT
    if isinstance(error, NotHttp2):
        return Reason.HTTP_VERSION
    if isinstance(error, aiohttp.ClientConnectorDNSError | NoSuchName):
        return Reason.DNS
    # A peer that hangs up in the handshake shows as a plain connection error.
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError) or "tls" in watch.began:
        return Reason.TLS
    if isinstance(error, aiohttp.ClientConnectorError) or "connect" in watch.began:
        return Reason.CONNECT
    return Reason.PROTOCOL
