"""Names to addresses, in threads of their own: a dead name server holds up no other collector's threads."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from collectors.endpoint.stopwatch import Stopwatch
from tocsin.model import Seconds

_THREADS: Final = 32


_NEXT_ADDRESS: Final[Seconds] = 0.25
"""How long one address may take before the next is tried beside it."""


class NoSuchName(OSError):
    """The name leads to no address."""


class Resolver(AbstractResolver):
    """The system's resolver. Close it with the loop that it served."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="endpoint-dns")

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

    async def address(self, host: str, port: int, watch: Stopwatch) -> str:
        """The first address of `host`. Raises NoSuchName."""
        return (await self._addresses(host, port, watch))[0]["host"]

    async def connected(
        self, host: str, port: int, context: ssl.SSLContext | None, watch: Stopwatch
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to whichever address of `host` takes it, with TLS where there is a `context`.

        Raises NoSuchName, and OSError when none does.
        """
        # What aiohttp does for HTTP/1.1, by the same package (RFC 8305): a name may have an address of a family that
        # leads nowhere from here, or on which nobody listens.
        from aiohappyeyeballs import start_connection

        found = await self._addresses(host, port, watch)
        watch.begin("connect")
        taken = await start_connection(
            [(one["family"], socket.SOCK_STREAM, one["proto"], "", _place(one)) for one in found],
            happy_eyeballs_delay=_NEXT_ADDRESS,
        )
        # The phases of TLS are the context's to tell: see stopwatch.
        return await asyncio.open_connection(
            sock=taken, ssl=context, server_hostname=host.rstrip(".") if context is not None else None
        )

    async def _addresses(self, host: str, port: int, watch: Stopwatch) -> list[ResolveResult]:
        """Looked up in the phase `dns`, which an address does not have. Raises NoSuchName."""
        literal = None
        with suppress(ValueError):
            literal = ipaddress.ip_address(host)
        if literal is None:
            watch.begin("dns")
        try:
            found = await self.resolve(host, port)
        except OSError as error:
            raise NoSuchName(str(error)) from None
        watch.end("dns")
        return found

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _place(found: ResolveResult) -> tuple[str, int] | tuple[str, int, int, int]:
    return (
        (found["host"], found["port"], 0, 0) if found["family"] == socket.AF_INET6 else (found["host"], found["port"])
    )
