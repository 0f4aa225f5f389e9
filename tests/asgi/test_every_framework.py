"""All layers around Starlette, FastAPI, Litestar and Django, over real HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from tests.asgi.frameworks import Site

ITEM = {"starlette": "/items/{id}", "fastapi": "/items/{id}", "litestar": "/items/{id}", "django": "/items/<str:id>"}
SECRETS = ("hunter2", "ana@example.com")


def failed(site: Site) -> dict[str, object]:
    """The one error that was logged."""
    site.until(lambda: site.kept.of("request.done"))
    assert len(site.kept.of("request.failed")) == 1
    return site.kept.of("request.failed")[0]


def test_a_route_is_protected_unless_it_is_public_by_name(site: Site) -> None:
    """Known and unknown paths, any method: 401 alike, and nothing of the application runs."""
    asked = [("/items/1", "GET"), ("/nowhere", "GET"), ("/boom", "POST"), ("/items/1", "OPTIONS"), ("/healthz", "POST")]
    assert [site.ask(path, method, headers={})[0] for path, method in asked] == [401] * 5
    assert site.ask("/healthz", headers={})[0] != 401
    assert site.kept.of("request.failed") == []
    assert site.ask("/items/7")[0] == 200


def test_who_is_not_on_the_list_is_told_403(site: Site) -> None:
    """A good token is not enough."""
    stranger = {"Authorization": f"Bearer {site.forge.token(email='eve@example.com')}"}
    assert site.ask("/items/7", headers=stranger)[0] == 403
    line = site.until(lambda: site.kept.of("request.done"))[0]
    assert (line["route"], line["stopped_by"], line["refusal"]) == ("refused", "access", "not_listed")


def test_the_route_is_a_template(site: Site) -> None:
    """In the log and in the series; what matches nothing is `unmatched`."""
    before = site.value("tocsin_http_requests_total", method="GET", route=ITEM[site.name], status="200")
    for path in ("/items/1", "/items/2", "/nowhere/3"):
        site.ask(path)
    site.until(lambda: len(site.kept.of("request.done")) == 3)
    # A line is written after its answer was sent: a later connection's may come first.
    routes = Counter(line["route"] for line in site.kept.of("request.done"))
    assert routes == {ITEM[site.name]: 2, "unmatched": 1}
    count = site.value("tocsin_http_requests_total", method="GET", route=ITEM[site.name], status="200")
    assert count - before == 2


def test_what_is_unavailable_is_a_503_with_retry_after(site: Site) -> None:
    """Whatever a framework makes of an exception it does not know."""
    status, headers, _ = site.ask("/items/busy")
    assert (status, headers["retry-after"], headers["content-type"]) == (503, "1", "application/problem+json")
    line = failed(site)
    assert (line["status"], line["category"], line["route"]) == (503, "dependency", ITEM[site.name])


def test_an_exception_is_logged_once_with_its_stack_and_context(site: Site) -> None:
    """And the client gets a problem document that quotes the request's id, and nothing of our insides."""
    trace = "0af7651916cd43dd8448eb211c80319c"
    sent = site.authorization | {"traceparent": f"00-{trace}-b7ad6b7169203331-01", "X-Request-ID": "from-the-balancer"}
    status, document = site.problem("/boom", headers=sent)
    line = failed(site)
    assert (status, document["request_id"], document["title"]) == (500, "from-the-balancer", "Internal Server Error")
    assert "in boom\n" in str(line["stack"])
    assert str(line["where"]).endswith(".boom")
    context = [line[name] for name in ("category", "status", "request_id", "trace_id", "phase", "route", "method")]
    assert context == ["bug", 500, "from-the-balancer", trace, "before_answer", "/boom", "GET"]
    assert len(str(line["user"])) == 16
    assert [report.fingerprint for report in site.told] == [line["fingerprint"]]


def test_no_secret_and_no_address_is_written(site: Site) -> None:
    """The exception's text has both."""
    body = site.ask("/boom")[2].decode()
    written = str(failed(site)) + body
    assert [secret for secret in SECRETS if secret in written.replace("TEXT", "")] == []


def test_an_answer_that_breaks_off_is_not_taken_for_a_whole_one(site: Site) -> None:
    """The error is logged, and the connection ends without the last chunk."""
    status, _, body = site.ask("/stream")
    assert (status, body) == (200, b"one<cut>")
    assert failed(site)["phase"] == "during_answer"


def test_a_body_is_cut_off_where_the_limit_is(site: Site) -> None:
    """By its Content-Length before it comes, and by count where it says nothing."""

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 100

    assert site.ask("/echo", "POST", b"x" * 1000)[2].strip(b'"') == b"1000"
    assert site.problem("/echo", method="POST", body=b"x" * 1001)[0] == 413
    assert site.problem("/echo", method="POST", body=endless())[0] == 413
    assert site.kept.of("request.failed") == []


def test_an_answer_that_takes_too_long_is_given_up(site: Site) -> None:
    """504, and logged as a timeout of its route."""
    status, document = site.problem("/slow")
    line = failed(site)
    assert (status, document["status"], line["category"], line["route"]) == (504, 504, "timeout", "/slow")


def test_an_error_of_a_background_task_is_logged(site_with_sockets: Site) -> None:
    """The client has its answer, and the connection lives on."""
    site = site_with_sockets
    assert site.ask("/later")[0] == 200
    line = failed(site)
    assert (line["phase"], line["route"], line["category"]) == ("after_answer", "/later", "bug")


def test_an_error_in_a_websocket_closes_it_and_is_logged(site_with_sockets: Site) -> None:
    """With 1011, or with Litestar's own code for it."""
    site = site_with_sockets
    with connect(f"ws://127.0.0.1:{site.port}/feed", additional_headers=site.authorization, open_timeout=60) as socket:
        assert socket.recv() == "hello"
        socket.send("go on")
        with pytest.raises(ConnectionClosedError) as closed:
            socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == (4500 if site.name == "litestar" else 1011)
    line = failed(site)
    assert (line["phase"], line["route"]) == ("websocket", "/feed")


def test_a_websocket_is_refused_before_it_is_accepted(site_with_sockets: Site) -> None:
    """401, by the HTTP response extension."""
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(f"ws://127.0.0.1:{site_with_sockets.port}/feed", open_timeout=60),
    ):
        pass
    assert refused.value.response.status_code == 401
    assert site_with_sockets.kept.of("request.failed") == []


def test_a_websocket_that_the_client_leaves_is_no_error(site_with_sockets: Site) -> None:
    """Leaving is what clients do. While it is there it counts as open, by the route that the framework chose."""
    site = site_with_sockets
    with connect(f"ws://127.0.0.1:{site.port}/feed", additional_headers=site.authorization, open_timeout=60) as socket:
        assert socket.recv() == "hello"
        site.until(lambda: site.value("tocsin_http_sockets_open", route="/feed") == 1)
    site.until(lambda: site.kept.of("request.done"))
    assert site.kept.of("request.failed") == []
    assert site.value("tocsin_http_sockets_open", route="/feed") == 0
