"""docs/application.md: each snippet serves, and every setting is there."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from tests.asgi.collector import collecting
from tocsin.asgi.settings import PREFIX, Settings

SNIPPET = re.compile(r'^```python title="(\w+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
DJANGO = """
from django.conf import settings
from django.http import HttpResponse
from django.urls import path

class Urls:
    urlpatterns = [path("hello/<str:name>", lambda request, name: HttpResponse("hello"))]

settings.configure(SECRET_KEY="x", ALLOWED_HOSTS=["*"], ROOT_URLCONF=Urls, LOGGING_CONFIG=None)
"""
ASKED = """
import asyncio
from prometheus_client import REGISTRY

async def answer(headers):
    said, sent = [], False
    async def receive():
        nonlocal sent
        if sent:
            await asyncio.Event().wait()
        sent = True
        return {"type": "http.request", "body": b"", "more_body": False}
    async def send(message):
        said.append(message)
    await application({"type": "http", "method": "GET", "path": "/hello/ana", "raw_path": b"/hello/ana",
        "root_path": "", "scheme": "http", "query_string": b"", "headers": headers, "http_version": "1.1",
        "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1), "asgi": {"version": "3.0"}, "state": {}},
        receive, send)
    return said[0]["status"], b"".join(message.get("body", b"") for message in said)

async def main():
    from tocsin.testing.forge import Forge
    print(*await answer([]))
    print(*await answer([(b"host", b"app"), (b"authorization", b"Bearer " + Forge.hs256().token().encode())]))
    samples = [sample for family in REGISTRY.collect() for sample in family.samples]
    print(*sorted({s.labels["route"] for s in samples if s.name == "tocsin_http_requests_total"}))
    await application.close()

asyncio.run(main())
"""
SENT = """while (REGISTRY.get_sample_value(
        "tocsin_http_exports_total", {"signal": "traces", "outcome": "sent"}) or 0) < 4:
        await asyncio.sleep(0.01)
    await application.close()"""
"""The two seconds of `close` are short on a busy machine. Four: the stranger's span, and three of who is listed."""
TEMPLATES = {"litestar": "/hello/{name}", "django": "/hello/<str:name>"}


@pytest.fixture
def page(root: Path) -> str:
    return (root / "docs" / "application.md").read_text()


def test_each_framework_has_its_snippet(page: str) -> None:
    """Five of them, each of at most ten lines."""
    found = dict(SNIPPET.findall(page))
    del found["cache"], found["database"], found["traces"]
    assert sorted(found) == ["django", "fastapi", "litestar", "plain", "starlette"]
    assert [name for name, code in found.items() if len(code.strip().splitlines()) > 10] == []


@pytest.mark.parametrize("name", ["starlette", "fastapi", "litestar", "django", "plain", "cache"])
def test_a_snippet_serves_and_is_protected(page: str, name: str, tmp_path: Path) -> None:
    """401 for a stranger, an answer for who is listed, and the route's template in the series."""
    from tocsin.testing.forge import SECRET

    (tmp_path / "list.csv").write_text("value,effect,role,expires_at,note\nana@example.com,allow,,,\n")
    code = (DJANGO if name == "django" else "") + dict(SNIPPET.findall(page))[name] + ASKED
    environment = {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "TOCSIN_APP_SUPABASE_URL": "https://project.supabase.co",
        "TOCSIN_APP_ALLOWLIST": str(tmp_path / "list.csv"),
        "TOCSIN_APP_JWT_SECRET": SECRET,
    }
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stderr
    stranger, listed, routes = ran.stdout.strip().splitlines()
    assert stranger.startswith("401 ")
    assert (listed[:4], "hello" in listed) == ("200 ", True)
    assert routes == f"{TEMPLATES.get(name, '/hello/{name}')} refused"


def test_the_traces_snippet_is_traced(page: str, tmp_path: Path) -> None:
    """The request, the work in it, and the call of another service, which got the trace's id."""
    from tocsin.testing.forge import SECRET

    (tmp_path / "list.csv").write_text("value,effect,role,expires_at,note\nana@example.com,allow,,,\n")
    with collecting() as collector, collecting() as other:
        environment = {
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "TOCSIN_APP_SUPABASE_URL": "https://project.supabase.co",
            "TOCSIN_APP_ALLOWLIST": str(tmp_path / "list.csv"),
            "TOCSIN_APP_JWT_SECRET": SECRET,
            "TOCSIN_APP_OTLP_ENDPOINT": collector.endpoint,
            "TOCSIN_APP_TRACE_SHARE": "1",
            "GREETINGS": f"{other.endpoint}/greetings",
        }
        code = dict(SNIPPET.findall(page))["traces"] + ASKED.replace("await application.close()", SENT)
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
        assert "200 b'hello 200'" in ran.stdout, ran.stderr
        [call, work, request] = [collector.named(name)[0] for name in ("POST", "greeting", "GET /hello/{name}")]
        assert (call["parent"], work["parent"]) == (work["span_id"], request["span_id"])
        assert other.headers[0]["traceparent"].split("-")[1:3] == [call["trace_id"], call["span_id"]]


def test_every_setting_is_on_the_page(page: str) -> None:
    """And no other."""
    there = set(re.findall(rf"`({PREFIX}[A-Z_]+)`", page))
    assert there == {f"{PREFIX}{field.name.upper()}" for field in fields(Settings)}
