"""What leaves a protected application for others: errors to Sentry, log lines over OTLP; and what it never costs."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import Any

import orjson
import pytest
from prometheus_client import CollectorRegistry

from collectors.sentry.category import names_of
from collectors.sentry.envelope import events_of
from tests.asgi.alone import nothing, nowhere, scope
from tests.asgi.collector import Collector, collecting, until
from tests.asgi.frameworks import TEXT, Kept
from tests.asgi.test_traces import free_port
from tocsin.asgi import Lines, Protected, protect
from tocsin.asgi.errors.sentry import Dsn, rest_of
from tocsin.asgi.settings import Settings
from tocsin.asgi.shipping import Sent, Shipper
from tocsin.errors import InputError
from tocsin.testing.waiting import eventually

SECRETS = ("ana@example.com", "hunter2")


async def failing(scope: Any, receive: Any, send: Any) -> None:
    scope["tocsin.route"] = "/orders/{id}"
    if scope["path"] == "/503":
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    try:
        raise LookupError(TEXT)
    except LookupError as error:
        raise ValueError(TEXT) from error


def dsn_of(collector: Collector) -> str:
    return collector.endpoint.replace("http://", "http://0123456789abcdef@") + "/7"


class App:
    """`failing` behind the layers, with the series of what left."""

    def __init__(self, environment: dict[str, str] | None = None, **arguments: Any) -> None:
        self.registry = CollectorRegistry()
        self.kept = Kept()
        self.protected: Protected = protect(
            failing, supabase_url="off", environment=environment or {}, registry=self.registry,
            lines=arguments.pop("lines", Lines(self.kept)), user=lambda _: "ana", **arguments,
        )  # fmt: skip

    async def ask(self, path: str = "/orders/17", times: int = 1) -> None:
        for _ in range(times):
            await self.protected(scope(path), nothing, nowhere)

    async def end(self, signal: str, count: float) -> dict[str, float]:
        """Close once so many have left, sent or not: the two seconds of `close` are short on a busy machine."""
        await asyncio.to_thread(until, lambda: sum(self.left(signal).values()) >= count)
        await self.protected.close()
        return self.left(signal)

    def left(self, signal: str) -> dict[str, float]:
        found = {}
        for outcome in ("sent", "full", "failed", "limited", "left"):
            labels = {"signal": signal, "outcome": outcome}
            value = self.registry.get_sample_value("tocsin_http_exports_total", labels)
            if value:
                found[outcome] = value
        return found


def payload(body: bytes) -> dict[str, Any]:
    """Of an envelope with one event."""
    _, item, event = body.strip().split(b"\n")
    assert orjson.loads(item) == {"type": "event", "length": len(event), "content_type": "application/json"}
    return dict(orjson.loads(event))


async def test_an_error_is_forwarded_with_its_chain_and_without_secrets() -> None:
    """Under the log line's ids, category, fingerprint and hashed user; nothing of the text, and no variable."""
    with collecting() as collector:
        app = App(sentry_dsn=dsn_of(collector), service="shop")
        await app.ask()
        assert await app.end("sentry", 1) == {"sent": 1.0}
    [(path, body)] = collector.bodies
    event, [line] = payload(body), app.kept.of("request.failed")
    assert path == "/api/7/envelope/"
    assert "sentry_key=0123456789abcdef" in collector.headers[0]["x-sentry-auth"]
    assert event["transaction"] == "GET /orders/{id}"
    assert event["tags"] == {
        "category": "bug", "fingerprint": line["fingerprint"], "phase": "before_answer", "status": "500",
        "request_id": line["request_id"], "service": "shop",
    }  # fmt: skip
    assert event["user"] == {"id": line["user"]}
    raised = event["exception"]["values"]
    assert [one["type"] for one in raised] == ["LookupError", "ValueError"]
    frame = raised[1]["stacktrace"]["frames"][-1]
    assert (frame["function"], frame["in_app"], f"{frame['module']}:{frame['function']}") == (
        "failing", True, line["where"]
    )  # fmt: skip
    assert [secret for secret in SECRETS if secret in body.decode()] == []
    [counted] = events_of(body, names_of({}))[1]
    assert (counted.type, counted.where) == ("ValueError", line["where"])


async def test_a_5xx_that_was_meant_is_a_message_of_its_own() -> None:
    """By SENTRY_DSN too, with Sentry's own variables for environment and release."""
    with collecting() as collector:
        variables = {"SENTRY_DSN": dsn_of(collector), "SENTRY_ENVIRONMENT": "live", "SENTRY_RELEASE": "v7"}
        app = App(environment=variables)
        await app.ask("/503")
        await app.end("sentry", 1)
    [(_, body)] = collector.bodies
    event = payload(body)
    assert (event["message"], event["environment"], event["release"]) == (
        "GET /orders/{id} answered 503", "live", "v7"
    )  # fmt: skip
    [counted] = events_of(body, names_of({}))[1]
    assert (counted.fingerprint != "", counted.environment) == (True, "live")


async def test_sentry_s_limits_are_kept() -> None:
    """After a 429 nothing is sent until it is over; what comes meanwhile is counted."""
    with collecting() as collector:
        collector.status, collector.reply_headers = 429, {"Retry-After": "3600"}
        app = App(sentry_dsn=dsn_of(collector))
        await app.ask()
        await asyncio.to_thread(until, lambda: app.left("sentry") == {"limited": 1.0})
        await app.ask(times=5)
        await app.protected.close()
        assert (len(collector.bodies), app.left("sentry")) == (1, {"limited": 6.0})


@pytest.mark.parametrize(
    ("status", "headers", "rest"),
    [
        (200, {}, 0.0),
        (200, {"x-sentry-rate-limits": "50:transaction:key, 2700:default;error;security:organization"}, 2700.0),
        (200, {"x-sentry-rate-limits": "60::organization"}, 60.0),
        (429, {"x-sentry-rate-limits": "50:transaction:key"}, 0.0),
        (429, {"retry-after": "7"}, 7.0),
        (429, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 60.0),
        (429, {}, 60.0),
        (500, {"retry-after": "7"}, 0.0),
    ],
)
def test_how_long_sentry_wants_to_be_left_alone(status: int, headers: dict[str, str], rest: float) -> None:
    """Where a limit is about errors, or about everything."""
    assert rest_of(status, headers) == rest


async def test_a_sentry_that_is_gone_costs_events_only() -> None:
    """Every request is answered as before, and each event is counted as lost, once."""
    app = App(sentry_dsn=f"http://key@127.0.0.1:{free_port()}/7")
    await app.ask(times=10)
    assert await app.end("sentry", 10) == {"failed": 10.0}
    assert len(app.kept.of("request.failed")) == 5  # of the same fingerprint a minute, in full


async def test_where_the_sdk_is_active_it_alone_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the DSN is given to us by name."""
    import sentry_sdk

    monkeypatch.setattr(sentry_sdk, "is_initialized", lambda: True)
    with collecting() as collector:
        theirs, ours = App(environment={"SENTRY_DSN": dsn_of(collector)}), App(sentry_dsn=dsn_of(collector))
        for app in (theirs, ours):
            await app.ask()
        found = await theirs.end("sentry", 0), await ours.end("sentry", 1)
        assert found == ({}, {"sent": 1.0})


def test_a_dsn_that_is_none_says_so_without_its_key() -> None:
    """Which variable, and what one looks like."""
    for variables, name in (({"SENTRY_DSN": "sekret@x"}, "SENTRY_DSN"), ({}, "TOCSIN_APP_SENTRY_DSN")):
        with pytest.raises(InputError, match=f"{name}: a DSN is https://KEY@HOST/PROJECT") as found:
            App(environment=variables, sentry_dsn="" if variables else "https://sekret@host/project")
        assert "sekret" not in str(found.value)
    assert Dsn.of("https://k:s@sentry.example/on/9/").url == "https://sentry.example/on/api/9/envelope/"


async def test_log_lines_are_records_with_their_trace() -> None:
    """Errors and requests, beside the stream that has them too: body, severity, ids, fields; secrets masked."""
    with collecting() as collector:
        variables = {
            "TOCSIN_APP_OTLP_ENDPOINT": collector.endpoint, "TOCSIN_APP_OTLP_LOGS": "yes", "TOCSIN_APP_SERVICE": "shop",
            "TOCSIN_APP_TRACE_SHARE": "1", "TOCSIN_APP_LOG_FOLDER": "", "TOCSIN_APP_OTLP_HEADERS": "x-tenant=acme",
        }  # fmt: skip
        app = App(environment=variables, lines=None)
        await app.ask()
        await asyncio.to_thread(until, lambda: collector.named("GET /orders/{id}"))
        assert await app.end("logs", 2) == {"sent": 2.0}
        [request] = collector.named("GET /orders/{id}")
        error, done = collector.records
    assert (error["body"], error["severity"], error["number"]) == ("request.failed", "ERROR", 17)
    assert (done["body"], done["severity"], done["number"]) == ("request.done", "INFO", 9)
    for record in (error, done):
        assert (record["trace_id"], record["span_id"]) == (request["trace_id"], request["span_id"])
        assert record["resource"] == request["resource"]
        assert record["resource"]["service.name"] == "shop"
        assert record["seconds"] > 1_700_000_000
    attributes = done["attributes"]
    assert (attributes["status"], attributes["route"], attributes["stands_for"]) == (500, "/orders/{id}", 1)
    assert isinstance(attributes["seconds"], float)
    assert [secret for secret in SECRETS if secret in str(collector.records)] == []
    assert [headers["x-tenant"] for headers in collector.headers] == ["acme"] * len(collector.headers)


async def test_log_lines_for_a_dead_collector_are_in_the_log_all_the_same(tmp_path: Any) -> None:
    """And counted as lost on the way to it."""
    app = App(
        lines=None, otlp_endpoint=f"http://127.0.0.1:{free_port()}", otlp_logs=True, log_folder=str(tmp_path),
        trace_share=0.0,
    )  # fmt: skip
    await app.ask(times=3)
    assert await app.end("logs", 6) == {"failed": 6.0}
    [file] = tmp_path.glob("*")
    written = [orjson.loads(line)["event"] for line in file.read_bytes().splitlines()]
    assert (written.count("request.failed"), written.count("request.done")) == (3, 3)


def test_log_lines_that_have_nowhere_to_go_are_a_wrong_setting() -> None:
    """And what is neither yes nor no."""
    for variables in ({"TOCSIN_APP_OTLP_LOGS": "yes"}, {"TOCSIN_APP_OTLP_LOGS": "maybe"}):
        with pytest.raises(InputError, match="OTLP_"):
            Settings.from_environment(variables)


async def test_a_queue_is_bounded_and_what_is_left_is_counted() -> None:
    """Full while the other end hangs; at the end what did not arrive."""
    outcomes: dict[str, int] = {}

    def outcome(kind: str, count: int) -> None:
        outcomes[kind] = outcomes.get(kind, 0) + count

    with collecting() as collector:
        collector.hangs = True

        def send(_: list[Any]) -> Sent:
            collector.released.wait()
            return Sent(ok=True)

        shipper = Shipper(send, name="test", outcome=outcome, most=10, patience=0.05)
        assert [shipper.put(number) for number in range(30)] == [True] * 10 + [False] * 20
        await shipper.close()
        assert shipper.put(31) is False
    assert outcomes == {"full": 20, "left": 11}


async def test_a_sender_that_raises_anything_costs_what_it_had_and_no_more() -> None:
    """The thread goes on: else all that comes later would be lost."""
    outcomes: dict[str, int] = {}
    seen: list[Any] = []

    def send(things: list[Any]) -> Sent:
        seen.extend(things)
        if things == ["first"]:
            raise KeyError("a bug")
        return Sent(ok=True)

    shipper = Shipper(send, name="test", outcome=lambda kind, count: outcomes.update({kind: count}), most=10)
    shipper.put("first")
    await eventually(lambda: outcomes == {"failed": 1})
    shipper.put("second")
    await eventually(lambda: outcomes == {"failed": 1, "sent": 1})
    await shipper.close()
    assert seen == ["first", "second"]


def test_a_fork_while_the_lock_is_held_sends_all_the_same() -> None:
    """In the child nobody would ever release it."""
    shipper = Shipper(lambda _: Sent(ok=True), name="test", outcome=lambda *_: None, most=10)
    with shipper._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # what hangs is killed, and that is a failure
            os._exit(0 if shipper.put("thing") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


HANGS = """
import asyncio, sys
from tocsin.asgi import protect, shipping
from tocsin.telemetry import export

export.TIMEOUT = shipping.TIMEOUT = 1e6  # nothing is given up for its slowness

async def app(scope, receive, send):
    if scope["path"] == "/boom":
        raise ValueError("x")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})

async def main():
    application = protect(app, supabase_url="off", environment={}, trace_share=1.0, otlp_endpoint=sys.argv[1],
        otlp_logs=True, sentry_dsn=sys.argv[2], log_folder=sys.argv[3])
    answered = []
    async def send(message):
        answered.append(message["type"])
    await application.start()
    for number in range(1200):
        path = "/boom" if number % 40 == 0 else "/"
        await application({"type": "http", "method": "GET", "path": path, "headers": []}, None, send)
    await application.close()
    print(answered.count("http.response.body"))

asyncio.run(main())
"""


def test_a_process_ends_although_all_that_it_sends_to_hangs(tmp_path: Any) -> None:
    """Spans, log lines and errors, to who accepts and never answers: all is answered, and nothing holds up the end."""
    with collecting() as collector:
        collector.hangs = True
        ran = subprocess.run(
            [sys.executable, "-c", HANGS, collector.endpoint, dsn_of(collector), str(tmp_path)],
            env={"PYTHONPATH": ":".join(sys.path)}, timeout=300, text=True, check=False, capture_output=True,
        )  # fmt: skip
        assert collector.asked.is_set()
    assert (ran.returncode, ran.stdout.split()[-1:]) == (0, ["1200"]), ran.stderr
