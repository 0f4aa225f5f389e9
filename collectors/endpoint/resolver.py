"""Names to addresses, in threads of their own: a dead name server holds up no other collector's threads."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

from collectors.endpoint.stopwatch import Stopwatch

_THREADS: Final = 32


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
        """The first address of `host`, looked up in the phase `dns`. Raises NoSuchName."""
        with suppress(ValueError):
            return str(ipaddress.ip_address(host))
        watch.begin("dns")
        try:
            found = await self.resolve(host, port)
        except OSError as error:
            raise NoSuchName(str(error)) from None
        watch.end("dns")
        return found[0]["host"]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
