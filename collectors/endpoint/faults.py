"""Why there is no answer: an error and the phase it came in, as a Reason."""

from __future__ import annotations

import ssl
from typing import Final

import aiohttp

from collectors.endpoint.answer import Reason
from collectors.endpoint.exchange import BadRedirect
from collectors.endpoint.http2 import NotHttp2
from collectors.endpoint.resolver import NoSuchName
from collectors.endpoint.stopwatch import Stopwatch

_BY_VERIFY_CODE: Final = {9: Reason.EARLY, 10: Reason.EXPIRED, 62: Reason.WRONG_HOST, 64: Reason.WRONG_HOST}
"""OpenSSL's x509_vfy.h. Whatever else it says (an unknown issuer, a missing link, a weak key) is distrust."""


def of_certificate(error: aiohttp.ClientConnectorCertificateError) -> Reason:
    """What is wrong with the certificate that was shown."""
    code = getattr(error.certificate_error, "verify_code", 0)
    return _BY_VERIFY_CODE.get(code, Reason.UNTRUSTED)


def of_timeout(watch: Stopwatch) -> Reason:
    """Of a probe whose time was up. A lookup that hangs is the name's matter: nobody was asked yet."""
    return Reason.DNS if "dns" in watch.began else Reason.TIMEOUT


def reason_for(error: Exception, watch: Stopwatch) -> Reason:
    """Of what a request raised, while `watch` ran."""
    if isinstance(error, BadRedirect):
        return Reason.REDIRECT
    if isinstance(error, NotHttp2):
        return Reason.HTTP_VERSION
    if isinstance(error, aiohttp.ClientConnectorDNSError | NoSuchName):
        return Reason.DNS
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return of_certificate(error)
    # A peer that hangs up in the handshake shows as a plain connection error.
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError) or "tls" in watch.began:
        return Reason.TLS
    if isinstance(error, aiohttp.ClientConnectorError) or "connect" in watch.began:
        return Reason.CONNECT
    return Reason.PROTOCOL
