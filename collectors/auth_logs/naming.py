"""How somebody is named in a series: an address or an id as a keyed hash. Pure."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from hashlib import blake2b


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """An address as it is counted; empty for what is none. Whoever has one IPv6 address has a network of them, and
    ::ffff:192.0.2.1 is an IPv4 address."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(ip, ipaddress.IPv6Address):
        mapped = ip.ipv4_mapped
        return str(mapped) if mapped is not None else str(ipaddress.IPv6Network((ip, 64), strict=False))
    return str(ip)


def hashed(salt: bytes, what: str, value: str) -> str:
    """`ip-` or another word and ten digits."""
    return f"{what}-{digest(salt, value, 5).hex()}"


@lru_cache(maxsize=4096)
def digest(salt: bytes, value: str, size: int) -> bytes:
    """A keyed hash of `size` bytes."""
    return blake2b(value.encode(), key=salt, digest_size=size).digest()
