"""`protect`: an application with every layer around it, in the order that makes them right.

    application = protect(app, public=["/healthz"])              # the rest by TOCSIN_APP_… of the environment

From the outside in, and why there:

    exposition    a scraper can't sign in, and is not traffic
    traces        the request's span, so that all below are under it; off without an OTLP endpoint
    log           sees every answer, refusals too
    latency       the same, and the time that the other layers take
    errors        whatever goes wrong further in
    access        before anything of ours or yours works for a stranger
    concurrency   only who may come in can take a place
    time, body    around the application's own work
    cache         knows who asks, and spares the work
    inside        layers of your own, in the order given

A layer is a function `(app, parts) -> app`: see `Parts` for what they share. `layers` replaces the list. The answer of
`protect` is an ASGI application: its lifespan starts the layers that have a `start`, then the application's; an
application without a lifespan (Django's) is none the worse. Where the server runs no lifespan, layers start with the
first request.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tocsin.asgi.arguments import app_of, functions
from tocsin.asgi.arguments import layers as layers_of
from tocsin.asgi.call import App, Receive, Scope, Send, Site
from tocsin.asgi.errors import Errors, Observer
from tocsin.asgi.errors.scrub import text_of
from tocsin.asgi.exports import Exports
from tocsin.asgi.given import look, public_routes
from tocsin.asgi.latency import Latency
from tocsin.asgi.lifespan import LEFT_AFTER, run_lifespan
from tocsin.asgi.limits import Body, Concurrency, Time
from tocsin.asgi.logs import Lines, RequestLog, Sampling
from tocsin.asgi.logs.files import Files, Keeping, can_be_written
from tocsin.asgi.logs.writer import FileSink, Sink, StreamSink
from tocsin.asgi.measures import Measures, measures_of
from tocsin.asgi.settings import NO_ACCESS, PREFIX, Settings, checked
from tocsin.errors import InputError
from tocsin.tasks import within

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from tocsin.access.allowlist import Role
    from tocsin.access.door import Admits
    from tocsin.access.guard import Public
    from tocsin.asgi.database import Database


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the layers share."""

    site: Site
    measures: Measures
    lines: Lines
    settings: Settings
    gate: Admits | None
    """None where access is somebody else's matter."""
    public: tuple[str | Public, ...] = ()
    needs: Callable[[str, str], Role | None] = lambda method, path: None
    observers: tuple[Observer, ...] = ()
    categories: Mapping[type[BaseException] | str, str] | None = None
    exports: Exports
    """What leaves the process."""


Layer = Callable[[App, Parts], App]


def log(app: App, parts: Parts) -> App:
    """The request log."""
    sampling = Sampling(share=parts.settings.log_share, slow=parts.settings.slow_seconds)
    return RequestLog(app, site=parts.site, measures=parts.measures, lines=parts.lines, sampling=sampling)


def latency(app: App, parts: Parts) -> App:
    """Histograms and counts."""
    return Latency(app, site=parts.site, measures=parts.measures)


def errors(app: App, parts: Parts) -> App:
    """Whatever goes wrong."""
    return Errors(
        app, site=parts.site, measures=parts.measures, lines=parts.lines, observers=parts.observers,
        categories=parts.categories, in_app=parts.settings.in_app,
    )  # fmt: skip


def access(app: App, parts: Parts) -> App:
    """Token and allowlist; where they are somebody else's matter, who may call from a page."""
    if parts.gate is None and not parts.settings.cors_origins:
        return app
    from tocsin.asgi.access import Access, for_pages

    if parts.gate is None:
        return for_pages(app, parts.settings.cors_origins)
    return Access(
        app, parts.gate, public=parts.public, needs=parts.needs, cors_origins=parts.settings.cors_origins,
        pass_preflights=parts.settings.pass_preflights, site=parts.site, measures=parts.measures,
    )  # fmt: skip


def concurrency(app: App, parts: Parts) -> App:
    """Places."""
    settings = parts.settings
    return Concurrency(
        app, settings.concurrency, waiting=settings.waiting, sockets=settings.sockets, site=parts.site,
        measures=parts.measures,
    )  # fmt: skip


def time(app: App, parts: Parts) -> App:
    """How long."""
    return Time(app, parts.settings.time_limit, site=parts.site, measures=parts.measures)


def body(app: App, parts: Parts) -> App:
    """How large."""
    return Body(app, parts.settings.body_limit, site=parts.site, measures=parts.measures)


def exposition(app: App, parts: Parts) -> App:
    """/metrics, where there is a token for it."""
    if not parts.settings.metrics_token:
        return app
    from tocsin.asgi.exposition import Exposition

    return Exposition(app, parts.settings.metrics_token, registry=parts.measures.registry)


def traces(app: App, parts: Parts) -> App:
    """Spans, where they are to go somewhere."""
    if parts.exports.tracing is None:
        return app
    from tocsin.asgi.traces.layer import Traces

    return Traces(app, site=parts.site, tracing=parts.exports.tracing, keep=True)


OUTSIDE: Final[tuple[Layer, ...]] = (exposition, traces, log, latency, errors, access, concurrency, time, body)
"""From the outside in."""


def protect(
    app: Any,
    *,
    gate: Admits | None = None,
    public: Iterable[str | Public] = (),
    needs: Callable[[str, str], Role | None] = lambda method, path: None,
    user: Callable[[Scope], str | None] | None = None,
    observers: Iterable[Observer] = (),
    categories: Mapping[type[BaseException] | str, str] | None = None,
    cache: Layer | None = None,
    database: Database | None = None,
    inside: Sequence[Layer] = (),
    layers: Sequence[Layer] = OUTSIDE,
    registry: CollectorRegistry | None = None,
    lines: Lines | None = None,
    settings: Settings | None = None,
    environment: Mapping[str, str] | None = None,
    **arguments: Any,
) -> Protected:
    """`app` with `layers` around it, then `cache`, then `inside`. Other arguments are fields of Settings. `database` is
    opened before the application starts and closed after it has stopped, and counts and logs where the layers do.

    Raises InputError where neither a gate nor a Supabase project is given and access isn't said to be `off`: an
    application must not stand open because a variable is missing. TypeError for an argument that is not known or of
    another kind.
    """
    environment = os.environ if environment is None else environment
    arguments = checked(arguments)
    look(app, gate, needs, user, categories, cache, database, registry, lines, settings, environment)
    observers = functions("protect(observers=…)", observers, "of an ErrorReport")
    layers, inside = layers_of("protect(layers=…)", layers), layers_of("protect(inside=…)", inside)
    settings = (
        Settings.from_environment(environment, **arguments) if settings is None else replace(settings, **arguments)
    )
    _origins_are_answered(settings, layers, inside)
    measures = measures_of(registry)
    given = public_routes(public) or settings.public
    exports = Exports(settings, measures, environment)
    parts = Parts(
        site=Site(app, user=user, user_key=settings.user_key.encode() or None),
        measures=measures,
        lines=lines if lines is not None else _lines(settings, measures, exports),
        settings=settings,
        gate=gate if gate is not None else _gate(settings),
        public=given,
        needs=needs,
        observers=(*exports.observers, *observers),
        categories=categories,
        exports=exports,
    )
    made: list[Any] = []
    if database is not None:
        database.join(parts)
        exports.watch(database)
        made.append(database)
    around = _around(app, parts, [*layers, *([] if cache is None else [cache]), *inside])
    return Protected(app, around[-1] if around else app, parts, [*made, *around])


def _around(app: App, parts: Parts, layers: Sequence[Layer]) -> list[App]:
    """What the layers make of `app`, from the inside out; one that has nothing to do gives what it was given."""
    made: list[App] = []
    wrapped = app
    for layer in reversed(layers):
        outer = app_of(f"what {getattr(layer, '__name__', 'a layer')} gives", layer(wrapped, parts))
        if outer is not wrapped:
            made.append(outer)
        wrapped = outer
    return made


class Protected:
    """An application behind its layers. Attributes of the application itself are reached by `app`."""

    def __init__(self, app: Any, wrapped: App, parts: Parts, layers: Sequence[Any]) -> None:
        """`layers` from the inside out."""
        self.app = app
        self.parts = parts
        self._wrapped = wrapped
        self._layers = tuple(layers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await run_lifespan(self.app, self, scope, receive, send, has_none=self._has_no_lifespan)
        else:
            self.parts.exports.start()  # where the server runs no lifespan
            await self._wrapped(scope, receive, send)

    async def start(self) -> None:
        """Start the layers that have something to start, the innermost first."""
        self.parts.exports.start()
        for layer in self._layers:
            start = getattr(layer, "start", None)
            if start is not None:
                await start()

    async def close(self) -> None:
        """Close the layers, the outermost first, then the log, and, for two seconds at most, what sends away. All of
        them, whatever one of them raises; that is raised in the end. One that hangs is left behind and counts as that.
        """
        failed: list[Exception] = []
        for layer in reversed(self._layers):
            try:
                ended = close() if (close := getattr(layer, "close", None)) is not None else None
                if ended is not None and not await within(LEFT_AFTER, ended):
                    raise TimeoutError(f"close() has not ended within {LEFT_AFTER:g} s")
            except Exception as error:  # noqa: BLE001 (the others must end too, and the log be written)
                failed.append(error)
                self.parts.lines.error("app.layer_not_closed", error=text_of(error), layer=type(layer).__name__)
        self.parts.lines.close()
        await self.parts.exports.close()
        if failed:
            raise failed[0]

    def _has_no_lifespan(self, error: BaseException) -> None:
        self.parts.lines.info("app.no_lifespan", error=text_of(error), kind=type(error).__name__)


def _origins_are_answered(settings: Settings, layers: Sequence[Layer], inside: Sequence[Layer]) -> None:
    """Raises InputError where nothing does. A layer of somebody's own may."""
    if settings.cors_origins and access not in layers and {*layers, *inside} <= set(OUTSIDE):
        raise InputError.at(
            "settings", 0, "cors_origins: no layer answers for them",
            f"put tocsin.asgi.mount.access among layers=…, or unset {PREFIX}CORS_ORIGINS",
        )  # fmt: skip


def _lines(settings: Settings, measures: Measures, exports: Exports) -> Lines:
    sink: Sink = StreamSink()
    if settings.log_folder:
        if not can_be_written(Path(settings.log_folder)):
            raise InputError.at(
                "settings", 0, f"TOCSIN_APP_LOG_FOLDER: {settings.log_folder} is no folder that can be written",
                "name another, or let the application's user write there",
            )  # fmt: skip
        keeping = Keeping(keep_bytes=settings.log_keep_bytes, keep_age=settings.log_keep_days * 86400)
        sink = FileSink(Files(Path(settings.log_folder), keeping))
    return Lines(exports.beside(sink), lost=measures.log_lines.labels("lost").inc)


def _gate(settings: Settings) -> Admits | None:
    if settings.supabase_url == NO_ACCESS:
        return None
    if not settings.supabase_url:
        raise InputError.at(
            "settings", 0, "nothing says who may come in",
            "set TOCSIN_APP_SUPABASE_URL and TOCSIN_APP_ALLOWLIST, pass a gate, or say supabase_url='off'",
        )  # fmt: skip
    if not settings.allowlist:
        raise InputError.at(
            "settings", 0, "there is no allowlist, so nobody could come in",
            "set TOCSIN_APP_ALLOWLIST to a CSV file or to the state store's URL",
        )  # fmt: skip
    from tocsin.asgi.gate import Gate

    try:
        return Gate.from_supabase(
            settings.supabase_url,
            allowlist=settings.allowlist,
            jwt_secret=settings.jwt_secret,
            api_key=settings.api_key,
        )
    except ValueError as error:
        raise InputError.at("settings", 0, str(error), "see docs/application.md") from None
