"""Which route a request took, as a template: the label of every series and log line.

`/campaigns/{id}` and never `/campaigns/17`, so that no client can make series or lines of its own kind. Read from what
the framework leaves behind, in this order:

    Starlette, FastAPI   scope["route"]; templates of mounts are put in front, found in the application's route tree
    Litestar             scope["path_template"]
    Django               request.resolver_match, through the handler's `request_class`
    anything else        scope["tocsin.route"], which the application may set to a template

What matched no route is `unmatched`; what a middleware answered before routing is `refused`. An application that makes
routes as it runs gets `other` from the `most`th on.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
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
        adopt_django(app)

    def of(self, scope: MutableMapping[str, Any]) -> str | None:
        """The template of a request that was routed; None before, and where nothing matched."""
        route = scope.get("route")
        if route is not None:
            known = self._known.get(id(route))
            if known is not None and known[0] is route:
                return known[1]
            return self._learn(route)
        template = scope.get("path_template") or scope.get(ROUTE_KEY)
        if isinstance(template, str):
            return self._bounded(template)
        request = scope.get(DJANGO_KEY)
        match = getattr(request, "resolver_match", None)
        return self._bounded("/" + match.route.removeprefix("^")) if match is not None else None

    def _learn(self, route: Any) -> str | None:
        for found, template in walked(self._app):
            if len(self._known) < self._most * 4:
                self._known.setdefault(id(found), (found, self._bounded(template)))
        known = self._known.get(id(route))
        if known is not None and known[0] is route:
            return known[1]
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


def walked(app: Any) -> Iterator[tuple[Any, str]]:
    """Every route under `app` with its whole template, through middlewares (`.app`) and mounts."""
    for layer in _layers(app):
        routes = getattr(layer, "routes", None)
        if isinstance(routes, (list, tuple)):
            yield from _of_routes(routes, "", _DEPTH)
            return


def _of_routes(routes: Any, prefix: str, depth: int) -> Iterator[tuple[Any, str]]:
    for route in routes:
        path = getattr(route, "path", "")
        whole = prefix + path if isinstance(path, str) else prefix
        below = getattr(route, "routes", None)
        if isinstance(below, (list, tuple)) and below and depth:
            yield route, f"{whole}/{{path}}"
            yield from _of_routes(below, whole, depth - 1)
        else:
            # A mount of an application without routes of its own (static files): all below it is one route.
            yield route, (f"{whole}/{{path}}" if hasattr(route, "routes") else whole) or "/"


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
