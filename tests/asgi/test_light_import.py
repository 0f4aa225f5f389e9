"""What mounting costs before the first request: modules that are loaded."""

from __future__ import annotations

import subprocess
import sys

HEAVY = (
    "sqlalchemy",
    "aiohttp",
    "psycopg",
    "numpy",
    "slack_sdk",
    "alembic",
    "fastapi",
    "litestar",
    "django",
    "jwt",
    "redis",
)


def loaded_after(code: str) -> set[str]:
    """The heavy packages that a fresh process has after `code`."""
    program = f"{code}\nimport sys; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


def test_importing_the_layers_loads_nothing_heavy() -> None:
    """No database client, no HTTP client, no framework: they come with what asks for them."""
    assert (
        loaded_after(
            "from tocsin.asgi import protect, Latency, Errors, RequestLog, Time, Body, Concurrency, Cache; Cache()"
        )
        == set()
    )


def test_an_allowlist_in_a_file_needs_no_database() -> None:
    """SQLAlchemy is for the state store alone."""
    made = "from tocsin.asgi import Gate; Gate('http://localhost/auth/v1', allowlist='list.csv')"
    assert not loaded_after(made) & {"sqlalchemy", "alembic", "numpy"}


def test_a_cache_in_redis_says_what_it_needs() -> None:
    """Where redis-py is not installed: at the start, with the line to type."""
    without = "import sys; sys.modules['redis.asyncio'] = None\nfrom tocsin.asgi.cache import Cache, Redis\nCache()\n"
    program = without + "try: Redis('redis://127.0.0.1')\nexcept ValueError as error: print(error)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'tocsin[redis]'" in ran.stdout
