"""A stand-in mail server: takes mails on a loopback port, and refuses or breaks off as it is told to."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Self

HANG = "hang"
BREAK = "break"


@dataclass
class FakeSmtp:
    """`answers` maps a command (MAIL, RCPT <address>, DATA, BODY, AUTH, CONNECT) to a reply, HANG or BREAK."""

    answers: dict[str, str] = field(default_factory=dict)
    mails: list[EmailMessage] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    port: int = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            if await self._answer(writer, "CONNECT", "220 ready"):
                while line := await reader.readline():
                    if not await self._obey(line.decode().strip(), reader, writer):
                        break
        self._writers.discard(writer)
        writer.close()

    async def _obey(self, line: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """False ends the connection."""
        self.commands.append(line)
        verb = line.split(" ")[0].upper()
        if verb in {"EHLO", "HELO"}:
            return await self._answer(writer, verb, "250-stand-in\r\n250 AUTH PLAIN")
        if verb == "RCPT":
            address = line.partition("<")[2].partition(">")[0]
            return await self._answer(writer, f"RCPT {address}", "250 ok")
        if verb == "AUTH":
            return await self._answer(writer, verb, "235 welcome")
        if verb == "DATA":
            goes_on = await self._answer(writer, verb, "354 go on")
            if verb in self.answers:
                return goes_on
            body = await reader.readuntil(b"\r\n.\r\n")
            if not self.answers.get("BODY", "250").startswith(("4", "5")):
                mail = message_from_bytes(body[:-3].replace(b"\r\n..", b"\r\n."), policy=policy.default)
                self.mails.append(mail)
            return await self._answer(writer, "BODY", "250 queued")
        return await self._answer(writer, verb, "250 ok")

    async def _answer(self, writer: asyncio.StreamWriter, command: str, usual: str) -> bool:
        answer = self.answers.get(command, usual)
        if answer == BREAK:
            writer.transport.abort()
            return False
        if answer != HANG:
            writer.write(answer.encode() + b"\r\n")
            await writer.drain()
        return True
