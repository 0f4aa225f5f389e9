"""What each runtime dependency weighs: processor time and memory to import what Tocsin uses of it, in a fresh process.

    .venv/bin/python -m docs.source.weigh      the table of docs/dependencies.md

The least of several runs, less those of an empty process. Packages share parts: two that need a third both count it,
so the sum is more than what the daemon pays; the last line is all of them together.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
RUNS: Final = 5
IMPORTS: Final = {
    "aiohttp": "import aiohttp",
    "aiosqlite": "import aiosqlite",
    "alembic": "import alembic.command",
    "apscheduler": "from apscheduler.schedulers.asyncio import AsyncIOScheduler",
    "brotli": "import brotli",
    "click": "import click",
    "cryptography": "from cryptography.hazmat.primitives.asymmetric import ec, rsa; from cryptography import x509",
    "dnspython": "import dns.message, dns.rdatatype",
    "google-re2": "import re2",
    "h2": "import h2.connection",
    "idna": "import idna",
    "jinja2": "import jinja2",
    "numpy": "import numpy",
    "opentelemetry-exporter-otlp-proto-http": (
        "from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter"
    ),
    "opentelemetry-sdk": "from opentelemetry.sdk.trace.export import BatchSpanProcessor",
    "orjson": "import orjson",
    "pcodec": "import pcodec",
    "prometheus-client": "import prometheus_client",
    "psycopg": "import psycopg",
    "pydantic-settings": "import pydantic_settings",
    "pyjwt": "import jwt; from jwt.algorithms import ECAlgorithm",
    "python-snappy": "import snappy",
    "pyyaml": "import yaml",
    "slack-sdk": "from slack_sdk.web.async_client import AsyncWebClient",
    "sqlalchemy": "import sqlalchemy.ext.asyncio",
    "starlette": "import starlette.applications",
    "structlog": "import structlog",
    "tzdata": "import tzdata",
    "uvicorn": "import uvicorn",
    "yarl": "import yarl",
}
"""What of each is imported; by its name in pyproject.toml."""
LATE: Final = (
    "aiosqlite", "alembic", "cryptography", "dnspython", "h2", "idna", "jinja2",
    "opentelemetry-exporter-otlp-proto-http", "opentelemetry-sdk", "psycopg", "pyjwt", "slack-sdk",
)  # fmt: skip
"""Imported only where they are used: by a migration, by an exporter that is configured, by a kind that is."""

_PROBE: Final = """
import time
began = time.process_time()
{work}
took = time.process_time() - began
resident = next(line for line in open('/proc/self/status') if line.startswith('VmRSS')).split()[1]
print(took * 1000, int(resident) / 1024)
"""


def declared() -> list[str]:
    """The names in pyproject.toml, without extras and versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [name_of(requirement) for requirement in project["dependencies"]]


def name_of(requirement: str) -> str:
    """`psycopg[binary,pool]>=3.3` → `psycopg`."""
    return requirement.split("[")[0].split(">")[0].split("<")[0].split("=")[0].strip().lower()


def weigh(work: str) -> tuple[float, float]:
    """(ms, MB) of a fresh process that does `work`: the least of several."""
    found = []
    for _ in range(RUNS):
        ran = subprocess.run(
            [sys.executable, "-c", _PROBE.format(work=work)], capture_output=True, text=True, check=True
        )
        took, resident = ran.stdout.split()
        found.append((float(took), float(resident)))
    return min(took for took, _ in found), min(resident for _, resident in found)


def main() -> None:
    """Print the table."""
    empty = weigh("pass")
    for name in declared():
        took, resident = weigh(IMPORTS[name])
        sys.stdout.write(f"{name:40} {took - empty[0]:5.0f} ms {resident - empty[1]:6.1f} MB\n")
    took, resident = weigh("; ".join(IMPORTS[name] for name in declared() if name not in LATE))
    sys.stdout.write(f"{'all but those loaded late':40} {took - empty[0]:5.0f} ms {resident - empty[1]:6.1f} MB\n")


if __name__ == "__main__":
    main()
