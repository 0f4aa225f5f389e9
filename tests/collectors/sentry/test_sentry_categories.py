"""Whose matter an event is, whatever the language that it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

from collectors.sentry import SentrySettings
from collectors.sentry.category import names_of
from collectors.sentry.counts import Counts
from collectors.sentry.envelope import events_of
from collectors.sentry.languages import KNOWN
from tests.collectors.sentry.test_sentry import AT, KEY, envelope, event
from tocsin.asgi.errors import ErrorReport, Phase
from tocsin.asgi.errors.category import Categories
from tocsin.asgi.errors.sentry import envelope_of, event_of
from tocsin.categories import ALL

CONFIGURED = {"shop.pay.*": "payment", "Acme.Quota.Exceeded": "quota"}


def category(fields: dict[str, Any], **more: str) -> str:
    [found] = events_of(envelope(event(**fields)), names_of(more))[1]
    return found.category


def raised(platform: str, *chain: tuple[str, str] | str, value: str = "", **more: Any) -> dict[str, Any]:
    """Of (type, module), the outermost last, as the SDKs send it."""
    pairs = [(one, "") if isinstance(one, str) else one for one in chain]
    values = [{"type": kind, "value": value} | ({"module": module} if module else {}) for kind, module in pairs]
    return {"platform": platform, "exception": {"values": values}} | more


@pytest.mark.parametrize(
    ("platform", "raised_as", "expected"),
    [
        ("python", ("UniqueViolation", "psycopg.errors"), "database"),
        ("python", ("ReadTimeout", "httpx"), "timeout"),
        ("python", "ConnectionResetError", "dependency"),
        ("python", "KeyError", "bug"),
        ("node", "PrismaClientKnownRequestError", "database"),
        ("node", "AxiosError", "dependency"),
        ("javascript", "TimeoutError", "timeout"),
        ("node", "ZodError", "validation"),
        ("javascript", "TypeError", "bug"),
        ("java", ("PSQLException", "org.postgresql.util"), "database"),
        ("java", ("SocketTimeoutException", "java.net"), "timeout"),
        ("java", ("ConnectException", "java.net"), "dependency"),
        ("java", ("BadCredentialsException", "org.springframework.security.authentication"), "auth"),
        ("java", ("NullPointerException", "java.lang"), "bug"),
        ("go", "*pgconn.PgError", "database"),
        ("go", ("*pq.Error", "github.com/lib/pq"), "database"),
        ("go", "*net.OpError", "dependency"),
        ("go", "context.deadlineExceededError", "timeout"),
        ("go", "runtime.boundsError", "bug"),
        ("ruby", ("ActiveRecord::StatementInvalid", "ActiveRecord"), "database"),
        ("ruby", ("ActiveRecord::RecordInvalid", "ActiveRecord"), "validation"),
        ("ruby", ("Net::ReadTimeout", "Net"), "timeout"),
        ("ruby", ("Faraday::ConnectionFailed", "Faraday"), "dependency"),
        ("ruby", "NoMethodError", "bug"),
        ("php", "Illuminate\\Database\\QueryException", "database"),
        ("php", "GuzzleHttp\\Exception\\ConnectException", "dependency"),
        ("php", "\\PDOException", "database"),
        ("php", "Illuminate\\Auth\\AuthenticationException", "auth"),
        ("csharp", ("Npgsql.PostgresException", "Npgsql, Version=8.0.0.0, Culture=neutral"), "database"),
        ("csharp", ("System.TimeoutException", "System.Private.CoreLib, Version=8.0.0.0"), "timeout"),
        ("csharp", ("System.Net.Http.HttpRequestException", "System.Net.Http, Version=8.0.0.0"), "dependency"),
        ("csharp", ("System.NullReferenceException", "System.Private.CoreLib"), "bug"),
        ("native", "PaymentTimeoutException", "timeout"),
    ],
)
def test_the_type_tells_in_every_language(platform: str, raised_as: tuple[str, str] | str, expected: str) -> None:
    """As that language's SDK writes types and modules."""
    assert category(raised(platform, raised_as)) == expected


def test_the_layers_and_the_collector_are_of_one_opinion() -> None:
    """Of an exception whose bases the layers can ask, and of its bare name."""
    errors: list[Exception] = [
        httpx.ReadTimeout("x"), httpx.PoolTimeout("x"), httpx.ConnectError("x"),
        requests.exceptions.ConnectTimeout("x"), requests.exceptions.SSLError("x"),
        ConnectionRefusedError(), BrokenPipeError(), TimeoutError(), KeyError("x"),
    ]  # fmt: skip
    named = [raised("python", (type(error).__qualname__, type(error).__module__)) for error in errors]
    assert [category(one) for one in named] == [Categories().of(error, 500) for error in errors]


def test_what_is_known_nowhere_is_judged_by_what_it_was_raised_from() -> None:
    """And not by what was being handled, which Python's SDK tells apart."""
    assert category(raised("java", ("PSQLException", "org.postgresql.util"), ("RuntimeException", "java.lang"))) == (
        "database"
    )
    handled = raised("python", "TimeoutError", "KeyError")
    handled["exception"]["values"][1]["mechanism"] = {"type": "chained", "source": "__context__"}
    assert category(handled) == "bug"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("connect ECONNREFUSED 127.0.0.1:5432", "database"),
        ("connect ECONNREFUSED 10.0.0.7:8080", "dependency"),
        ("getaddrinfo ENOTFOUND api.example.com", "dependency"),
        ("connect ETIMEDOUT 10.0.0.7:443", "timeout"),
        ("fetch failed", "dependency"),
        ("x is undefined", "bug"),
    ],
)
def test_nodes_plain_errors_are_told_apart_by_their_code(said: str, expected: str) -> None:
    """Node has one class for all of them. The message itself is not kept."""
    assert category(raised("node", "Error", value=said)) == expected
    assert category(raised("python", "Error", value=said)) == "bug"


def test_a_request_of_the_applications_own_is_a_dependency() -> None:
    """SDKs report answers to fetch and XHR by a mechanism; the status is the other side's."""
    one = raised("javascript", "Error", value="x", contexts={"response": {"status_code": 401}})
    one["exception"]["values"][0]["mechanism"] = {"type": "auto.http.client.fetch"}
    assert category(one) == "dependency"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"contexts": {"response": {"status_code": 503}}}, "dependency"),
        ({"tags": {"status_code": "504"}}, "timeout"),
        ({"tags": [["http.status_code", 403]]}, "auth"),
        ({"tags": {"status": "ok"}}, "bug"),
        ({"contexts": {"response": {"status_code": 10**40}}}, "bug"),
        ({"message": "slow"}, "bug"),
    ],
)
def test_without_an_exception_that_is_known_the_status_tells(fields: dict[str, Any], expected: str) -> None:
    """Where it was sent, in the context or a tag."""
    assert category(fields) == category(raised("python", "KeyError") | fields) == expected


def test_an_application_may_say_the_category_itself() -> None:
    """One that is known or configured; what any client may write makes no series."""
    failed = raised("python", "KeyError")
    said = [failed | {"tags": {"tocsin.category": name}} for name in ("dependency", "payment", "bug\n", "x" * 500)]
    assert [category(one) for one in said] == ["dependency", "bug", "bug", "bug"]
    assert [category(one, **CONFIGURED) for one in said] == ["dependency", "payment", "bug", "bug"]
    assert category(failed | {"tags": [["tocsin.category", "auth"]]}) == "auth"
    assert category(failed | {"tags": {"category": "auth"}}) == "bug"


def test_configuration_adds_to_the_names_and_changes_them() -> None:
    """A whole package, one exception, and one that is known otherwise."""
    assert category(raised("python", ("Declined", "shop.pay.card")), **CONFIGURED) == "payment"
    assert category(raised("php", "Acme\\Quota\\Exceeded"), **CONFIGURED) == "quota"
    assert category(raised("go", "*pq.Error"), **{"pq.Error": "dependency"}) == "dependency"
    base = {"kind": "sentry", "name": "errors", "project": 1, "key": KEY}
    with pytest.raises(ValueError, match="a category is a short name"):
        SentrySettings.model_validate(base | {"categories": {"X": "no such label"}})


def test_what_the_layers_forward_keeps_its_category(tmp_path: Path) -> None:
    """They judged with the exception in their hands."""
    report = ErrorReport(
        error=ValueError("x"), category="dependency", fingerprint="f", where="m:f", phase=Phase.BEFORE, method="GET",
        route="/", status=500, request_id="r", trace_id="", span_id="", user="", scope={},
    )  # fmt: skip
    [found] = events_of(envelope_of(event_of(report)), names_of({}))[1]
    assert found.category == "dependency"


def test_errors_are_counted_by_category_and_other_levels_are_not() -> None:
    """A warning is nobody's failure."""
    counts = Counts()
    for level in ("fatal", "error", "warning"):
        found = events_of(envelope(event(level=level, **raised("go", "*pq.Error"))), names_of({}))[1]
        counts.add(found, 0.0)
    by_category = {
        (sample.name, sample.labels.get("category", "")): sample.value for sample in counts.samples(AT, AT)
    }  # fmt: skip
    assert by_category["tocsin_sentry_errors_total", "database"] == 2
    assert by_category["tocsin_sentry_error_occurrences_total", "database"] == 3


def test_every_name_has_one_of_the_seven_categories() -> None:
    """And each is one that a language can write: no separator but dots."""
    assert set(KNOWN.values()) == set(ALL) - {"bug"}
    assert [name for name in KNOWN if "::" in name or "\\" in name or name.startswith((".", "*"))] == []
