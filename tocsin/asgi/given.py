"""What `protect` is given, looked at before anything is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tocsin.asgi.arguments import app_of, function, has, layer, listed, mapping, wrong
from tocsin.asgi.settings import Settings, public_findings
from tocsin.errors import InputError

if TYPE_CHECKING:
    from tocsin.access.guard import Public


def look(
    app: Any, gate: Any, needs: Any, user: Any, categories: Any, cache: Any, database: Any, registry: Any, lines: Any,
    settings: Any, environment: Any,
) -> None:  # fmt: skip
    """Raises TypeError for what is of another kind than `protect` takes."""
    app_of("protect(app)", app)
    mapping("protect(environment=…)", environment, "variables by name")
    function("protect(needs=…)", needs, "of method and path")
    kinds = (
        (gate, "gate", ("admit",), "a gate: Gate.from_supabase(url, allowlist=…)"),
        (database, "database", ("join", "start", "close"), "a Database: Database('postgresql://…')"),
        (registry, "registry", ("register", "collect"), "a prometheus_client.CollectorRegistry"),
        (lines, "lines", ("request", "info", "error", "close"), "where lines go: Lines(sink)"),
        (user, "user", ("__call__",), "a function of the scope"),
        (categories, "categories", ("items",), "categories by exception: {MyError: 'dependency'}"),
    )
    for given, name, parts, meant in kinds:
        if given is not None:
            has(f"protect({name}=…)", given, parts, meant)
    if settings is not None and not isinstance(settings, Settings):
        raise wrong("protect(settings=…)", "Settings(…)", settings)
    if cache is not None:
        function("protect(cache=…)", cache, "that a Cache gives: cache.responses({'/route': Rule(ttl=5)})")
        layer("protect(cache=…)", cache)


def public_routes(given: Any) -> tuple[str | Public, ...]:
    """Raises TypeError for what is no list, InputError for what is no route: also where nothing is protected now."""
    if isinstance(given, str):
        raise TypeError(f"public is a list of routes: public=[{given!r}]")
    routes = listed("protect(public=…)", given, "a list of routes")
    if found := public_findings("protect(public=…)", routes):
        raise InputError(*found)
    return routes
