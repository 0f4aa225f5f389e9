"""What the layers are told wrongly: said when they are made, with the argument's name and how to mend it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.asgi.alone import ok
from tocsin.asgi import (
    Body,
    Cache,
    Concurrency,
    Database,
    Errors,
    Exposition,
    Gate,
    Latency,
    RequestLog,
    Sampling,
    Time,
    protect,
)  # fmt: skip
from tocsin.asgi.access import Access
from tocsin.asgi.logs.files import can_be_written
from tocsin.asgi.settings import _OTHERS, Settings
from tocsin.errors import InputError


def nothing_given(app: Any, parts: Any) -> None:
    """A layer whose author forgot to return it."""


PROTECT: dict[str, tuple[dict[str, Any], str]] = {
    "database": ({"database": "postgresql://db/app"}, "protect(database=…) is a Database: Database('postgresql://…')"),
    "layers": ({"layers": ["errors"]}, "protect(layers=…)[0] is a function (app, parts) -> app, not str"),
    "a layer's class": ({"inside": [Latency]}, "write lambda app, parts: Latency(app, site=parts.site"),
    "a layer that gives nothing": ({"inside": [nothing_given]}, "what nothing_given gives is an application"),
    "cache": ({"cache": Cache()}, "protect(cache=…) is a function that a Cache gives: cache.responses("),
    "observers": ({"observers": 5}, "protect(observers=…) is a list of functions of an ErrorReport, not int"),
    "an observer": ({"observers": [print, 5]}, "protect(observers=…)[1] is a function of an ErrorReport, not int"),
    "gate": ({"gate": "https://ref.supabase.co"}, "protect(gate=…) is a gate: Gate.from_supabase(url, allowlist=…)"),
    "a category": ({"categories": {KeyError: "depndency"}}, "'depndency': did you mean 'dependency'?"),
    "a category's name": ({"categories": {"KeyError": "bug"}}, "'KeyError' names no exception: write module.Class"),
    "categories": ({"categories": ["bug"]}, "protect(categories=…) is categories by exception: {MyError:"),
    "no scheme": ({"supabase_url": "ref.supabase.co"}, "'ref.supabase.co' is neither an address nor off; write"),
    "a path": ({"supabase_url": "https://ref.supabase.co/auth/v1"}, "is the project's address, without a path"),
    "allowlist": ({"allowlist": "mysql://db/app"}, "mysql:// is no store that we know; set TOCSIN_APP_ALLOWLIST"),
    "a public route": ({"public": ["/static/*", "healthz"]}, "protect(public=…): 'healthz': a public path begins"),
    "a route's query": ({"public": ["/healthz?full=1"]}, "a path as the application sees it, decoded and without"),
    "a route's method": ({"public": ["FETCH /x"]}, "FETCH is no method; DELETE, GET, HEAD"),
    "its variable": ({"environment": {"TOCSIN_APP_PUBLIC": "healthz"}}, "TOCSIN_APP_PUBLIC: 'healthz'"),
    "needs": ({"needs": "admin"}, "protect(needs=…) is a function of method and path, not str"),
    "user": ({"user": "sub"}, "protect(user=…) is a function of the scope, not str"),
    "registry": ({"registry": CollectorRegistry}, "protect(registry=…) is a prometheus_client.CollectorRegistry"),
    "lines": ({"lines": "logs"}, "protect(lines=…) is where lines go: Lines(sink), not str"),
    "settings": ({"settings": {"log_share": 1}}, "protect(settings=…) is Settings(…), not dict"),
    "a limit": ({"body_limit": -1}, "body_limit is above 0; set TOCSIN_APP_BODY_LIMIT"),
    "no number": ({"time_limit": float("nan")}, "time_limit is above 0; set TOCSIN_APP_TIME_LIMIT"),
    "every origin": ({"cors_origins": ["*"]}, "every origin (*) would let any page act for a user"),
    "an origin": ({"cors_origins": ["https://app.example/"]}, "'https://app.example/' is no origin; write scheme"),
    "a list's entry": ({"in_app": [5]}, "protect(in_app=…) is a list of texts, and 5 is none"),
    "metrics_token": ({"metrics_token": "short"}, "fewer than 16 characters; make one: openssl rand -hex 32"),
    "otlp_endpoint": ({"otlp_endpoint": "http://"}, "otlp_endpoint is no http:// or https:// address"),
    "log_folder": ({"log_folder": __file__}, "is no folder that can be written; name another"),
}  # fmt: skip
LAYERS: dict[str, tuple[Callable[[], Any], str]] = {
    "an application": (lambda: protect("module:app", supabase_url="off"), "protect(app) is an application, called"),
    "latency": (lambda: Latency(ok, exemplar_every=-1), "Latency(exemplar_every=…) is at least 0, not -1"),
    "errors' lines": (lambda: Errors(ok, lines=5), "Errors(lines=…) is where lines go: Lines(sink), not int"),  # type: ignore[arg-type]
    "errors' observers": (lambda: Errors(ok, observers=print), "Errors(observers=…) is a list of functions"),  # type: ignore[arg-type]
    "sampling": (lambda: RequestLog(ok, sampling=0.5), "RequestLog(sampling=…) is Sampling(share=…), not float"),  # type: ignore[arg-type]
    "shares": (lambda: Sampling(shares=0.5), "Sampling(shares=…) is shares by route"),  # type: ignore[arg-type]
    "places": (lambda: Concurrency(ok, 0), "Concurrency(most=…) is at least 1, not 0"),
    "exempt": (lambda: Concurrency(ok, exempt="/healthz"), "Concurrency(exempt=…) is a list of paths, not str"),
    "time": (lambda: Time(ok, -1), "Time(seconds=…) is above 0, not -1"),
    "the whole time": (lambda: Time(ok, 10, whole=5), "Time(whole=…) is at least 10, not 5"),
    "body": (lambda: Body(ok, "1 MiB"), "Body(most=…) is a whole number, not str"),  # type: ignore[arg-type]
    "a body's own": (lambda: Body(ok, most_for=5), "Body(most_for=…) is a function of the scope, not int"),  # type: ignore[arg-type]
    "metrics": (lambda: Exposition(ok, "x" * 16, path="metrics"), "Exposition(path=…) begins with a /"),
    "access": (lambda: Access(ok, None), "Access(gate=…) is a gate: Gate.from_supabase("),  # type: ignore[arg-type]
    "a gate's address": (lambda: Gate("ref", allowlist=["ana@example.com"]), "Gate(auth_url): 'ref' is no address"),
    "a gate's list": (lambda: Gate("https://ref", allowlist=["ana@"]), "the domain has an empty part"),
    "nobody": (lambda: Gate("https://ref", allowlist=""), "Gate(allowlist=…) is a CSV file, a store's URL or a list"),
    "dsn": (lambda: Database("mysql://app:hunter2@db/app"), "Database(dsn): it is no address of a Postgres"),
    "a pool": (lambda: Database("postgresql://db", size=2, least=3), "Database(least=…) is no more than size, 2"),
    "a wait": (lambda: Database("postgresql://db", lock_timeout=0), "Database(lock_timeout=…) is above 0, not 0"),
}  # fmt: skip


@pytest.mark.parametrize("name", PROTECT)
def test_what_protect_is_told_wrongly_is_said_when_it_is_made(name: str) -> None:
    """With the argument's name and what is meant: neither ignored, nor found by the first request."""
    given, told = PROTECT[name]
    with pytest.raises((TypeError, ValueError, InputError)) as caught:
        protect(ok, **{"supabase_url": "off", "environment": {}, "registry": CollectorRegistry(), **given})
    assert told in str(caught.value)


@pytest.mark.parametrize("name", LAYERS)
def test_what_a_layer_is_told_wrongly_is_said_when_it_is_made(name: str) -> None:
    """Each stands alone, and is not always made by `protect`."""
    make, told = LAYERS[name]
    with pytest.raises((TypeError, ValueError)) as caught:
        make()
    assert told in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_log_folder_that_may_not_be_written_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lines would be lost, one by one; a folder that is not there yet is made."""
    asked = []

    def access(path: Any, mode: int) -> bool:
        asked.append(Path(path))
        return False

    assert can_be_written(tmp_path / "logs" / "app")
    monkeypatch.setattr(os, "access", access)  # root may write everywhere
    assert not can_be_written(tmp_path / "logs" / "app")
    assert asked == [tmp_path]


def test_wrong_variables_are_named_with_their_mend() -> None:
    """All at once."""
    with pytest.raises(InputError) as wrong:
        Settings.from_environment({"TOCSIN_APP_LOG_SHRE": "1", "TOCSIN_APP_BODY_LIMIT": "10MB", "HOME": "/"})
    assert "did you mean TOCSIN_APP_LOG_SHARE?" in str(wrong.value)
    assert "'10MB' is no whole number" in str(wrong.value)
    with pytest.raises(InputError, match="above 0"):
        Settings(time_limit=0)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"concurency": 3}, "protect() knows no concurency: did you mean concurrency?"),
        ({"databse": None}, "protect() knows no databse: did you mean database?"),
        ({"body_limit": "10 MiB"}, "protect(body_limit=…) is a whole number, not str"),
        ({"concurrency": 2.5}, "protect(concurrency=…) is a whole number, not float"),
        ({"time_limit": "5"}, "protect(time_limit=…) is a number of seconds, not str"),
        ({"time_limit": True}, "protect(time_limit=…) is a number of seconds, not bool"),
        ({"otlp_logs": "no"}, "protect(otlp_logs=…) is True or False, not str"),
        ({"cors_origins": "https://app.example"}, "protect(cors_origins=…) is a list of texts, not str"),
        ({"public": "/healthz"}, "public is a list of routes: public=['/healthz']"),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_meant(wrong: dict[str, Any], told: str) -> None:
    """And not in the first request, nor character by character."""
    with pytest.raises(TypeError) as caught:
        protect(ok, environment={}, registry=CollectorRegistry(), **{"supabase_url": "off", **wrong})
    assert str(caught.value) == told


def test_every_argument_of_protect_is_offered_where_one_is_misspelt() -> None:
    """The list beside Settings is that of `protect`."""
    named = [name for name, one in inspect.signature(protect).parameters.items() if one.kind is one.KEYWORD_ONLY]
    assert named == list(_OTHERS)
