"""When the certificates expire that a peer has shown, trusted or not."""

from __future__ import annotations

import asyncio
import ssl
from functools import lru_cache
from types import SimpleNamespace
from typing import Final

import aiohttp

from tocsin.model import Seconds

_DER: Final = 2
"""OpenSSL's X509_FILETYPE_ASN1, as `_ssl.ENCODING_DER` calls it."""


def untrusted(host: str, port: int, error: ssl.SSLCertVerificationError) -> aiohttp.ClientConnectorCertificateError:
    """What aiohttp raises where a certificate can't be trusted, for connections that are not aiohttp's."""
    key = SimpleNamespace(host=host, port=port, is_ssl=True, ssl=True)
    return aiohttp.ClientConnectorCertificateError(key, error)  # type: ignore[arg-type]


async def expiry_shown_by(host: str, port: int | None) -> list[Seconds]:
    """Of the certificates that could not be trusted: asked again, without checking them."""
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
    """When the first of a handshake's certificates ends: an intermediate's end breaks the chain as the peer's own
    does. None where it did not complete."""
    ends = [_not_after(certificate) for certificate in _chain(connection)]
    return min((end for end in ends if end is not None), default=None)


def _chain(connection: ssl.SSLObject) -> list[bytes]:
    """Where it is to be trusted the chain that was built and checked, up to its root; else all that was shown.

    What is shown and not needed (a cross-signed root that has expired, for old clients) harms nobody who builds
    another chain, so it is no reason for an alert.
    """
    if connection.context.verify_mode is not ssl.CERT_NONE and (built := _certificates(connection, "verified")):
        return built
    if shown := _certificates(connection, "unverified"):
        return shown
    try:
        alone = connection.getpeercert(binary_form=True)
    except ValueError:  # no handshake
        return []
    return [] if alone is None else [alone]


def _certificates(connection: ssl.SSLObject, which: str) -> list[bytes]:
    """A chain in DER. Public since Python 3.13; before that of the object below, and where that changes it is none:
    then the peer's own certificate is all that is looked at."""
    name = f"get_{which}_chain"
    ask = getattr(connection, name, None) or getattr(getattr(connection, "_sslobj", None), name, None)
    try:
        found = ask() if ask is not None else None
        return [each if isinstance(each, bytes) else each.public_bytes(_DER) for each in found or ()]
    except (AttributeError, TypeError, ValueError):
        return []


@lru_cache(maxsize=4096)
def _not_after(certificate: bytes) -> Seconds | None:
    # Loaded with the first certificate: it weighs 9 MB, and who probes plain HTTP only need not carry it.
    from cryptography import x509

    try:
        return x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp()
    except ValueError:  # OpenSSL took what cryptography can't parse
        return None
