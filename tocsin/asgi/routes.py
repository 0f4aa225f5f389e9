"""Which route a request took, as a template: the label of every series and log line.

`/campaigns/{id}` and never `/campaigns/17`, so that no client can make series or lines of its own kind. Read from what
the framework leaves behind, in this order:

    Starlette, FastAPI   scope["route"]; templates of mounts are put in front, found in the application's route tree,
                         as are the prefixes of FastAPI's included routers, which it leaves in scope["fastapi"]
    Litestar             scope["path_template"]; of a mounted application the mount's path
    Django               request.resolver_match, through the handler's `request_class`
    anything else        scope["tocsin.route"], which the application may set to a template

What matched no route is `unmatched`; what a middleware answered before routing is `refused`. An application that makes
routes as it runs gets `other` from the `most`th on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, MutableMapping
from functools import lru_cache
from typing import Any, Final

ROUTE_KEY: Final = "tocsin.route"
DJANGO_KEY: Final = "tocsin.django_request"
UNMATCHED: Final = "unmatched"
REFUSED: Final = "refused"
OTHER: Final = "other"
MOST_ROUTES: Final = 500
_DEPTH: Final = 12


class Templates:
    """The templates of one application."""

    def __init__(self, app: Any, *, most: int = MOST_ROUTES) -> None:
        self._app = app
        self._most = most
        # By identity: routes compare by value, which is slow. The route is held, so that its id stays its own.
        self._known: dict[int, tuple[Any, str]] = {}
        self._labels: set[str] = set()
        self._several: dict[int, list[str]] = {}
        """Templates of routes that are in the tree more than once; which one it was, the request's path says."""
        self._mounted: dict[int, tuple[Any, str]] = {}
        """Applications in the tree with the template of what they are mounted at."""
        adopt_django(app)

    def of(self, scope: MutableMapping[str, Any]) -> str | None:
        """The template of a request that was routed; None before, and where nothing matched."""
        route = scope.get("route")
        if route is not None:
            included = _included(scope, route)
            one = route if included is None else included
            known = self._known.get(id(one))
            if known is not None and known[0] is one:
                return known[1] if not self._several else self._which(one, known[1], scope)
            return self._learn(route, scope) if included is None else self._learn_included(included, scope.get("app"))
        template = scope.get("path_template") or scope.get(ROUTE_KEY)
        if isinstance(template, str):
            return self._bounded(template)
        if "path_template" in scope:
            return self._mount_of(scope.get("route_handler"))
        request = scope.get(DJANGO_KEY)
        match = getattr(request, "resolver_match", None)
        return self._bounded("/" + match.route.removeprefix("^")) if match is not None else None

    def _mount_of(self, handler: Any) -> str | None:
        """Litestar leaves no template of what is mounted: all below it is one route, as its scope is a copy."""
        known = self._known.get(id(handler))
        if known is not None and known[0] is handler:
            return known[1]
        for layer in _layers(self._app):
            for route in getattr(layer, "routes", None) or ():
                if handler is not None and getattr(route, "route_handler", None) is handler:
                    label = self._bounded(f"{route.path.rstrip('/')}/{{path}}")
                    if len(self._known) < self._most * 4:
                        self._known[id(handler)] = (handler, label)
                    return label
        return None

    def _learn_included(self, included: Any, app: Any) -> str:
        """A router may be included twice: what FastAPI made of it counts, and not the route."""
        if not self._mounted:
            self._walk()
        mounted = self._mounted.get(id(app))
        prefix = mounted[1] if mounted is not None and mounted[0] is app else ""
        label = self._bounded(prefix + included.path or "/")
        if len(self._known) < self._most * 4:
            self._known[id(included)] = (included, label)
        return label

    def _walk(self) -> None:
        for found, template in walked(self._app, self._mounted):
            if len(self._known) < self._most * 4:
                label = self._bounded(template)
                first = self._known.setdefault(id(found), (found, label))[1]
                if first != label:
                    among = self._several.setdefault(id(found), [first])
                    among += [] if label in among else [label]

    def _which(self, route: Any, label: str, scope: MutableMapping[str, Any]) -> str:
        among, path = self._several.get(id(route)), scope.get("path", "")
        # The longest first: `/a/x/{id}` ends as `/x/{id}` does, where a server puts something in front of both.
        return next((one for one in sorted(among or (), key=len, reverse=True) if _ending(one).search(path)), label)

    def _learn(self, route: Any, scope: MutableMapping[str, Any]) -> str | None:
        self._walk()
        known = self._known.get(id(route))
        if known is not None and known[0] is route:
            return self._which(route, known[1], scope)
        path = getattr(route, "path", None)  # of an application that the tree does not show
        if not isinstance(path, str):
            return None
        label = self._bounded(path or "/")
        if len(self._known) < self._most * 4:
            self._known[id(route)] = (route, label)
        return label

    def _bounded(self, template: str) -> str:
        if template in self._labels:
            return template
        if len(self._labels) >= self._most:
            return OTHER
        self._labels.add(template)
        return template


def walked(app: Any, mounted: dict[int, tuple[Any, str]]) -> Iterator[tuple[Any, str]]:
    """Every route under `app` with its whole template, through middlewares (`.app`) and mounts. The applications there
    are put into `mounted` with what stands in front of their routes."""
    yield from _of_routes(_routes_of(app, "", mounted), "", _DEPTH, mounted)


def _routes_of(app: Any, prefix: str, mounted: dict[int, tuple[Any, str]]) -> Any:
    for layer in _layers(app):
        mounted[id(layer)] = (layer, prefix)
        routes = getattr(layer, "routes", None)
        if isinstance(routes, (list, tuple)) and routes:
            return routes
    return ()


def _of_routes(routes: Any, prefix: str, depth: int, mounted: dict[int, tuple[Any, str]]) -> Iterator[tuple[Any, str]]:
    for route in routes:
        path = getattr(route, "path", "")
        whole = prefix + path if isinstance(path, str) else prefix
        is_mount = isinstance(getattr(route, "routes", None), (list, tuple))
        below = _routes_of(route.app, whole, mounted) if is_mount and hasattr(route, "app") else ()
        if below and depth:
            yield route, f"{whole}/{{path}}"
            yield from _of_routes(below, whole, depth - 1, mounted)
        else:
            # A mount of an application without routes of its own (static files): all below it is one route.
            yield route, (f"{whole}/{{path}}" if is_mount else whole) or "/"


@lru_cache(maxsize=1024)
def _ending(template: str) -> re.Pattern[str]:
    """What the path of a request of this template ends like."""
    parts = re.split(r"\{(\w+)(?::(\w+))?\}", template)
    fixed, names, kinds = parts[::3], parts[1::3], parts[2::3]
    wild = [".*" if "path" in (name, kind) else "[^/]+" for name, kind in zip(names, kinds, strict=True)]
    return re.compile("".join(re.escape(text) + part for text, part in zip(fixed, [*wild, ""], strict=True)) + r"\Z")


def _included(scope: MutableMapping[str, Any], route: Any) -> Any:
    """FastAPI's account of a route in the router that was included; None where it is in none."""
    ours = scope.get("fastapi")
    context = ours.get("effective_route_context") if isinstance(ours, dict) else None
    is_it = context is not None and getattr(context, "original_route", None) is route
    return context if is_it and isinstance(getattr(context, "path", None), str) else None


def _layers(app: Any) -> Iterator[Any]:
    seen = 0
    while app is not None and seen < _DEPTH:
        yield app
        seen += 1
        app = next(
            (inner for name in ("app", "_app", "inner", "application") if (inner := _attribute(app, name))), None
        )


def _attribute(app: Any, name: str) -> Any:
    inner = getattr(app, name, None)
    return inner if callable(inner) else None


def adopt_django(app: Any) -> None:
    """Let Django's handler leave its request in the scope: the handler's `request_class` is its hook for that."""
    for layer in _layers(app):
        original = getattr(layer, "request_class", None)
        if original is not None and hasattr(layer, "create_request"):
            if not getattr(original, "leaves_itself", False):
                layer.request_class = _leaving(original)
            return


def _leaving(original: Any) -> Any:
    class Request(original):  # type: ignore[misc]
        leaves_itself = True

        def __init__(self, scope: MutableMapping[str, Any], body_file: Any) -> None:
            super().__init__(scope, body_file)
            scope[DJANGO_KEY] = self

    return Request
