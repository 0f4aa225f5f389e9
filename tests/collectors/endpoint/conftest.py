"""Real HTTP and HTTPS servers on loopback, and one poll of the endpoint collector."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from collectors.endpoint import SPEC
from tocsin.model import Blind, Sample
from tocsin.ports import CollectorContext
from tocsin.testing.checkpoint import MemoryCheckpoint

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
AT = datetime(2026, 8, 20, 9, 0, tzinfo=UTC)


@dataclass
class Seen:
    """What one poll yielded, in order."""

    items: list[Sample | Blind]

    @property
    def samples(self) -> list[Sample]:
        return [item for item in self.items if isinstance(item, Sample)]

    @property
    def blind(self) -> list[Blind]:
        return [item for item in self.items if isinstance(item, Blind)]

    def value(self, name: str, **labels: str) -> float | None:
        """The one value of `name` whose labels include `labels`; None when there is none."""
        found = [s.value for s in self.samples if s.name == name and s.labels.contains(labels)]
        assert len(found) <= 1, f"{name}{labels} is ambiguous: {found}"
        return found[0] if found else None

    def reasons(self, instance: str | None = None) -> set[str]:
        return {
            s.labels["reason"]
            for s in self.samples
            if s.name == "tocsin_endpoint_failure" and instance in (None, s.labels["instance"])
        }

    def phases(self) -> set[str]:
        return {s.labels["phase"] for s in self.samples if s.name == "tocsin_endpoint_phase_seconds"}


class Endpoints:
    """Starts servers and polls targets; closes all of it."""

    def __init__(self, stack: AsyncExitStack, folder: Path) -> None:
        self._stack = stack
        self.folder = folder
        self.memory = MemoryCheckpoint()

    async def serve(self, handler: Handler, *, tls: ssl.SSLContext | None = None) -> str:
        """The base URL of a server that answers everything with `handler`."""
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.01)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        host, port = runner.addresses[0][:2]
        return f"{'https' if tls else 'http'}://{host}:{port}"

    async def serve_raw(
        self,
        talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
        *,
        tls: ssl.SSLContext | None = None,
    ) -> str:
        """The base URL of a server that says whatever `talk` says."""

        async def close_after(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await talk(reader, writer)
            finally:
                writer.transport.abort()

        server = await asyncio.start_server(close_after, "127.0.0.1", 0, ssl=tls)

        async def stop() -> None:
            server.close()
            await server.wait_closed()

        self._stack.push_async_callback(stop)
        return f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    def collector(self, *targets: dict[str, Any], **settings: Any) -> Any:
        read = SPEC.settings.model_validate(
            {"kind": "endpoint", "name": "web", "targets": list(targets), "interval": "5s", **settings}
        )
        context = CollectorContext(checkpoint=self.memory, poke=lambda: None, folder=self.folder)
        collector = SPEC.build(read, context)
        self._stack.push_async_callback(collector.close)
        return collector

    async def poll(self, *targets: dict[str, Any], **settings: Any) -> Seen:
        return await polled(self.collector(*targets, **settings))


async def polled(collector: Any, at: datetime = AT) -> Seen:
    return Seen([item async for item in collector.collect(at)])


@pytest.fixture
async def endpoints(tmp_path: Path) -> AsyncIterator[Endpoints]:
    async with AsyncExitStack() as stack:
        yield Endpoints(stack, tmp_path)


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for 127.0.0.1."""

    pem: Path
    expires_at: datetime

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem)
        return context


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[..., Certificate]:
    """`certificate(days=30)`: one that expires so many days from now; below 0, one that has expired."""

    def make(days: int = 30) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
        # Certificates bear whole seconds.
        expires_at = (datetime.now(UTC) + timedelta(days=days)).replace(microsecond=0)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(expires_at - timedelta(days=365))
            .not_valid_after(expires_at)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        pem = tmp_path / f"certificate{days}.pem"
        pem.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + made.public_bytes(serialization.Encoding.PEM)
        )
        return Certificate(pem, expires_at)

    return make


@dataclass(frozen=True)
class Chain:
    """A root, an intermediate and the certificate of 127.0.0.1."""

    root: Path
    pem: Path
    """What a server shows: its key, its certificate and those above it but for the root."""
    leaf: bytes
    """In DER."""
    ends: dict[str, float]

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem)
        return context


@pytest.fixture
def chain(tmp_path: Path) -> Callable[..., Chain]:
    """`chain(root=400, intermediate=10, leaf=80)`: so many days each; `extra`: one more that is shown for nothing."""
    made = 0

    def make(*, root: int, intermediate: int, leaf: int, extra: int | None = None) -> Chain:
        nonlocal made
        made += 1
        days = {"root": root, "intermediate": intermediate, "leaf": leaf} | ({} if extra is None else {"extra": extra})
        keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in days}
        above = {"root": "root", "intermediate": "root", "leaf": "intermediate", "extra": "extra"}
        ends = {
            name: (datetime.now(UTC) + timedelta(days=count)).replace(microsecond=0) for name, count in days.items()
        }
        signed = {
            name: (
                x509.CertificateBuilder()
                .subject_name(_called(name, made))
                .issuer_name(_called(above[name], made))
                .public_key(keys[name].public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(ends[name] - timedelta(days=900))
                .not_valid_after(ends[name])
                .add_extension(
                    x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
                )
                .add_extension(x509.BasicConstraints(ca=name != "leaf", path_length=None), critical=True)
                .sign(keys[above[name]], hashes.SHA256())
            )
            for name in days
        }
        texts = {name: one.public_bytes(serialization.Encoding.PEM) for name, one in signed.items()}
        key = keys["leaf"].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (top := tmp_path / f"root{made}.pem").write_bytes(texts["root"])
        (pem := tmp_path / f"chain{made}.pem").write_bytes(
            key + texts["leaf"] + texts["intermediate"] + texts.get("extra", b"")
        )
        return Chain(
            top, pem, signed["leaf"].public_bytes(serialization.Encoding.DER),
            {name: end.timestamp() for name, end in ends.items()},
        )  # fmt: skip

    return make


def _called(name: str, number: int) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} {number}")])
