"""When the certificate expires that a peer has shown, trusted or not."""

from __future__ import annotations

import asyncio
import ssl
from functools import lru_cache
from types import SimpleNamespace

import aiohttp

from tocsin.model import Seconds


def untrusted(host: str, port: int, error: ssl.SSLCertVerificationError) -> aiohttp.ClientConnectorCertificateError:
    """What aiohttp raises where a certificate can't be trusted, for connections that are not aiohttp's."""
    key = SimpleNamespace(host=host, port=port, is_ssl=True, ssl=True)
    return aiohttp.ClientConnectorCertificateError(key, error)  # type: ignore[arg-type]


async def expiry_shown_by(host: str, port: int | None) -> list[Seconds]:
    """Of the certificate that could not be trusted: asked again, without checking it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    except OSError:
        return []
    try:
        expiry = expiry_of(writer.get_extra_info("ssl_object"))
    finally:
        writer.transport.abort()
    return [] if expiry is None else [expiry]


def expiry_of(connection: ssl.SSLObject) -> Seconds | None:
    """Of the certificate shown in a handshake; None where it did not complete."""
    try:
        certificate = connection.getpeercert(binary_form=True)
    except ValueError:
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
