"""Errors of tasks that a handler starts and nobody waits for: logged once, under the request that started them."""

# ruff: noqa: RUF006 (that nobody holds the tasks is what is tested)

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry

from tests.asgi.alone import Client, nothing, nowhere, ok, scope
from tests.asgi.frameworks import Kept, protected, served
from tocsin.asgi import ErrorReport, Errors, Lines, protect
from tocsin.asgi.errors.fingerprint import InApp
from tocsin.asgi.errors.sentry import event_of
from tocsin.asgi.measures import measures_of
from tocsin.errors import InputError

Doing = Callable[[], Coroutine[Any, Any, Any]]


async def fails() -> None:
    await asyncio.sleep(0)
    raise ValueError("ana@example.com has password=hunter2")


async def settled() -> None:
    """Tasks that have begun are done, and let go of."""
    while len(asyncio.all_tasks()) > 1:
        await asyncio.sleep(0)
    await asyncio.sleep(0)


class Watched:
    """Errors alone around an application that does one thing; what the loop's own handler would have told."""

    def __init__(self, doing: Doing, **options: Any) -> None:
        self.kept, self.told, self.registry = Kept(), list[ErrorReport](), CollectorRegistry()
        self._doing = doing
        self.errors = Errors(
            self.app, measures=measures_of(self.registry), lines=Lines(self.kept), observers=[self.told.append],
            **options,
        )  # fmt: skip

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        scope["tocsin.route"] = "/campaigns/{id}"
        await self._doing()
        await ok(scope, receive, send)

    async def ask(self, request_id: bytes = b"request-one") -> int:
        client = Client()
        await self.errors(scope("/campaigns/7", headers=[(b"x-request-id", request_id)]), nothing, client.send)
        await settled()
        return client.status

    @property
    def lines(self) -> list[tuple[str, str, str]]:
        return [(line["request_id"], line["route"], line["error"]) for line in self.kept.of("task.failed")]


async def test_a_task_that_nobody_awaits_is_logged_once_under_its_request(caplog: pytest.LogCaptureFixture) -> None:
    """With category, fingerprint and stack; counted, told to observers; the client noticed nothing, nor does stderr."""

    async def starts() -> None:
        asyncio.create_task(fails())

    watched = Watched(starts)
    assert await watched.ask() == 200
    [line] = watched.kept.of("task.failed")
    told = {name: line[name] for name in ("request_id", "route", "category", "phase", "status", "method")}
    assert told == {
        "request_id": "request-one", "route": "/campaigns/{id}", "category": "bug", "phase": "task", "status": 200,
        "method": "GET",
    }  # fmt: skip
    assert line["where"].endswith(":fails")
    assert "hunter2" not in str(line)
    labels = {"category": "bug", "route": "/campaigns/{id}"}
    assert watched.registry.get_sample_value("tocsin_http_errors_total", labels) == 1
    [report] = watched.told
    assert event_of(report)["tags"]["request_id"] == "request-one"
    assert caplog.records == []
    watched.errors.close()


async def test_what_was_logged_with_its_request_is_not_logged_again() -> None:
    """An exception that came both ways, one that several tasks share, and one that somebody looked at."""
    error = ValueError("once")

    async def both_ways() -> None:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(error)
        raise error

    async def shared() -> None:
        for _ in range(3):
            asyncio.get_running_loop().create_future().set_exception(error)

    async def looked_at() -> None:
        await asyncio.wait([task := asyncio.create_task(fails())])
        assert isinstance(task.exception(), ValueError)

    for doing, logged in ((both_ways, ["request.failed"]), (shared, ["task.failed"]), (looked_at, [])):
        error = ValueError("once")
        watched = Watched(doing)
        await watched.ask()
        error = ValueError("another")
        gc.collect()  # the first one, its frames and the future hold each other
        assert ([line["event"] for line in watched.kept.lines], len(watched.told)) == (logged, len(logged)), doing
        watched.errors.close()


@pytest.mark.parametrize("forgets", ["a future", "a task"])
async def test_what_was_logged_as_forgotten_is_not_logged_again_by_its_request(forgets: str) -> None:
    """A future is let go of, which knows no request, or a task, and the request then raises the same error: once in the
    log, the count and for observers, and the request's own line says what it was. Another request is told, also where
    it bears the same id: a client may write what it likes there."""
    error = [ValueError("forgotten, then raised")]

    async def raises() -> None:
        raise error[0]

    async def both_ways() -> None:
        if forgets == "a task":
            asyncio.create_task(raises())
            for _ in range(3):  # it runs, is done, is let go of
                await asyncio.sleep(0)
        else:
            with contextlib.suppress(ValueError):
                await raises()
            asyncio.get_running_loop().create_future().set_exception(error[0])
        raise error[0]

    watched = Watched(both_ways)
    seen, made = [], set()
    for watched._doing in (both_ways, raises, raises):
        client, asked = Client(), scope("/campaigns/7", headers=[(b"x-request-id", b"request-one")])
        await watched.errors(asked, nothing, client.send)
        seen.append((client.status, len(watched.kept.lines), len(watched.told)))
        made.add(tuple(asked["tocsin.call"].failed.items()))
    assert seen == [(500, 1, 1), (500, 2, 2), (500, 3, 3)]
    lines = watched.kept.lines
    assert [line["event"] for line in lines] == ["task.failed", "request.failed", "request.failed"]
    assert made == {(("category", line["category"]), ("fingerprint", line["fingerprint"])) for line in lines}
    error.clear()
    watched.errors.close()


async def test_a_line_of_a_task_has_what_its_own_request_bound() -> None:
    """And not what is bound where the garbage collector comes by."""

    async def starts() -> None:
        structlog.contextvars.bind_contextvars(tenant="first")
        asyncio.create_task(fails())

    watched = Watched(starts)
    with structlog.contextvars.bound_contextvars(tenant="another"):
        await asyncio.create_task(watched.errors(scope("/"), nothing, nowhere))
        await settled()
    assert [line["tenant"] for line in watched.kept.of("task.failed")] == ["first"]
    watched.errors.close()


async def test_the_handler_that_was_there_is_told_as_before_and_comes_back() -> None:
    """Of everything, and it alone again after the end, also where somebody put theirs in front of ours."""
    loop, told, in_front = asyncio.get_running_loop(), list[Any](), list[Any]()

    async def starts() -> None:
        asyncio.create_task(fails())

    def theirs(loop: Any, context: dict[str, Any]) -> None:
        told.append(context.get("exception"))

    loop.set_exception_handler(theirs)
    watched = Watched(starts)
    await watched.ask()
    loop.call_exception_handler({"message": "a word without an exception"})
    assert [type(one) for one in told] == [ValueError, type(None)]
    watched.errors.close()
    assert loop.get_exception_handler() is theirs

    await watched.ask()
    ours: Any = loop.get_exception_handler()

    def someones(loop: Any, context: dict[str, Any]) -> None:
        in_front.append(context)
        ours(loop, context)

    loop.set_exception_handler(someones)
    watched.errors.close()
    asyncio.create_task(fails())
    await settled()
    await watched.ask()  # ours once more, in front of theirs, in front of what is left of ours
    assert (len(watched.kept.of("task.failed")), len(told), len(in_front)) == (3, 5, 2)
    watched.errors.close()


async def test_what_is_none_of_the_applications_is_left_to_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    """A server's connection that breaks, a client that went away, a cancelled task; not what its own start began."""
    from starlette.requests import ClientDisconnect

    async def leaves() -> None:
        raise ClientDisconnect

    async def starts() -> None:
        asyncio.create_task(leaves())
        asyncio.create_task(asyncio.sleep(60)).cancel()

    watched = Watched(starts)
    await watched.ask()
    asyncio.get_running_loop().create_future().set_exception(ConnectionResetError())  # no frame, no request
    await settled()
    assert watched.lines == []
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [
        ClientDisconnect, ConnectionResetError,
    ]  # fmt: skip
    asyncio.create_task(fails())
    await settled()
    assert [line[:2] for line in watched.lines] == [("", "outside")]
    watched.errors.close()


async def test_a_callback_and_a_group_are_told_too() -> None:
    """Of a callback the error, of a group of one what is in it."""

    async def group() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fails())

    def callback() -> None:
        raise KeyError("x")

    async def starts() -> None:
        asyncio.create_task(group())
        asyncio.get_running_loop().call_soon(callback)

    watched = Watched(starts)
    await watched.ask(b"request-two")
    gc.collect()  # a group and its task hold each other
    assert sorted(line["where"].rpartition(":")[2].rpartition(".")[2] for line in watched.kept.of("task.failed")) == [
        "callback", "fails",
    ]  # fmt: skip
    assert {line[0] for line in watched.lines} == {"request-two"}
    watched.errors.close()


async def test_of_two_applications_in_one_loop_each_tells_its_own() -> None:
    """Whoever began last."""

    async def starts() -> None:
        asyncio.create_task(fails())

    one, other = Watched(starts), Watched(starts)
    await one.errors.start()
    await other.errors.start()
    await one.ask()
    assert (len(one.lines), len(other.lines)) == (1, 0)
    await other.ask()
    assert (len(one.lines), len(other.lines)) == (1, 1)
    one.errors.close()
    other.errors.close()


async def test_a_storm_of_forgotten_tasks_is_a_few_lines() -> None:
    """As of any error: five of a fingerprint in full, all of them counted."""

    async def starts() -> None:
        for _ in range(50):
            asyncio.create_task(fails())

    watched = Watched(starts)
    await watched.ask()
    watched.errors.close()
    assert (len(watched.lines), len(watched.told)) == (5, 50)
    assert [line["times"] for line in watched.kept.of("request.failed_repeatedly")] == [45]


async def test_errors_alone_leave_the_loop_at_the_lifespans_end() -> None:
    """Where the layer stands alone its lifespan is the application's."""
    during = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        during.append(asyncio.get_running_loop().get_exception_handler())

    errors = Errors(app, measures=measures_of(CollectorRegistry()), lines=Lines(Kept()))
    await errors({"type": "lifespan"}, nothing, nowhere)
    assert (during[0] is None, asyncio.get_running_loop().get_exception_handler()) == (False, None)


def test_a_task_of_a_served_request_is_told_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    """Over HTTP, behind all layers; the request's own line says nothing went wrong with it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"  # it has no lifespan
        scope["tocsin.route"] = "/launch"
        asyncio.create_task(fails())
        await ok(scope, receive, send)

    trace = "0af7651916cd43dd8448eb211c80319c"
    made, site = protected("plain", app)
    with served(made) as site.port, caplog.at_level(logging.ERROR, "asyncio"):
        sent = site.authorization | {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
        assert site.ask("/launch", headers=sent)[0] == 200
        [line] = site.until(lambda: site.kept.of("task.failed"))
        [done] = site.until(lambda: site.kept.of("request.done"))
    assert (line["trace_id"], line["request_id"], line["route"]) == (trace, done["request_id"], "/launch")
    assert line["user"] == done["user"]
    assert "category" not in done
    assert caplog.records == []


def test_an_installed_package_is_the_applications_own_where_it_is_named() -> None:
    """Its frames make the fingerprint and are in_app at Sentry; a library below and one with a longer name are not."""
    space: dict[str, dict[str, Any]] = {}
    for module in ("campaigns.sending", "campaigns_client"):
        source = "def call(function):\n    return function()\n"
        space[module] = {"__name__": module}
        exec(compile(source, f"/usr/lib/python3/site-packages/{module.replace('.', '/')}.py", "exec"), space[module])
    call: Any = space["campaigns.sending"]["call"]
    library: Any = partial(space["campaigns_client"]["call"], json.loads)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        call(library)

    where, own = [], []
    for in_app in ("", "campaigns"):
        told: list[ErrorReport] = []
        made = protect(
            app, supabase_url="off", environment={"TOCSIN_APP_IN_APP": in_app}, lines=Lines(Kept()),
            registry=CollectorRegistry(), observers=[told.append],
        )  # fmt: skip
        asyncio.run(made(scope("/"), nothing, nowhere))
        where.append(told[0].where.rpartition(".")[2])
        [raised] = event_of(told[0], in_app=InApp(made.parts.settings.in_app))["exception"]["values"]
        own.append([frame["module"] for frame in raised["stacktrace"]["frames"] if frame["in_app"]])
    assert where == ["app", "sending:call"]
    assert own == [[__name__], [__name__, "campaigns.sending"]]


@pytest.mark.parametrize("wrong", ["src/campaigns", "campaigns.", "", "campaigns.*"])
def test_what_is_no_package_is_refused(wrong: str) -> None:
    """A path would match nothing, and nobody would know."""
    with pytest.raises(InputError, match="is no package: write it as it is imported"):
        protect(ok, supabase_url="off", in_app=[wrong], environment={}, registry=CollectorRegistry())
