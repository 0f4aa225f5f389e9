"""Errors: each is logged once with what is needed to find it, counted, and answered without our insides.

    app = Errors(app, observers=[forward])

What counts: an exception that reaches us, one that the framework answered with a 5xx (seen while it does), a 5xx that
the application answered of its own will (then there is no stack to log), one of a task that nobody waits for (see
strays), and an application that returns without an answer. 4xx are counted by category and not logged. A cancelled
request and a client that went away are no errors, whatever a framework makes of the latter. SystemExit is logged, and
goes on.

The answer to an exception is an RFC 9457 problem with the request's id. Where a framework has answered an exception
itself, its 500s and its text and HTML pages are replaced by that (a debug page shows insides), its 5xx in JSON are left
as they are: somebody wrote them. `Unavailable` is a 503 with Retry-After. Once an answer has begun it can't be changed:
the connection is broken off with `AnswerBroken`, so that half an answer is not taken for a whole one. WebSockets are
closed with 1011.

Storms are bounded (see storm). A framework may log as well what it handles: switch that off (docs/application.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tocsin.asgi.arguments import app_of, functions, has
from tocsin.asgi.call import CALL_KEY, CURRENT, App, Call, Receive, Scope, Send, Site
from tocsin.asgi.errors.answer import Answer, AnswerBroken, NoAnswer, close, is_meant, phase_of
from tocsin.asgi.errors.category import Categories, is_ending, is_gone, leaf_of, status_of
from tocsin.asgi.errors.fingerprint import Fingerprints, InApp, named
from tocsin.asgi.errors.report import ErrorReport, Observer, Phase
from tocsin.asgi.errors.signals import listen_to_django
from tocsin.asgi.errors.storm import Storms
from tocsin.asgi.errors.strays import Strays
from tocsin.asgi.errors.told import mark_told, told_before
from tocsin.asgi.logs.lines import Lines
from tocsin.asgi.measures import Measures, measures_of
from tocsin.asgi.problem import answer, meant_by
from tocsin.categories import TIMEOUT

__all__ = ["AnswerBroken", "Categories", "ErrorReport", "Errors", "NoAnswer", "Observer", "Phase"]


class Errors:
    """ASGI middleware that catches."""

    def __init__(
        self,
        app: App,
        *,
        site: Site | None = None,
        measures: Measures | None = None,
        lines: Lines | None = None,
        categories: Mapping[type[BaseException] | str, str] | None = None,
        observers: Iterable[Observer] = (),
        in_app: Iterable[str] = (),
        storms: Storms | None = None,
    ) -> None:
        """`in_app`: packages that are the application's own wherever they are installed. Raises ValueError."""
        self._app = app_of("Errors(app)", app)
        if lines is not None:
            has("Errors(lines=…)", lines, ("info", "warning", "error"), "where lines go: Lines(sink)")
        self._site = site or Site(app)
        self._measures = measures or measures_of()
        self._lines = lines or Lines()
        self._categories = Categories(categories)
        self._observers = functions("Errors(observers=…)", observers, "of an ErrorReport")
        self._fingerprints = Fingerprints(InApp(in_app))
        self._storms = storms or Storms()
        # The children, bounded as the labels are.
        self._counts: dict[tuple[str, str], Callable[[], None]] = {}
        self._occurred: dict[tuple[str, str], Callable[[], None]] = {}
        self._strays = Strays(self._site, self._strayed, self._fingerprints.has_own)
        listen_to_django()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._strays.begun:
            self._strays.begin()
        if scope["type"] not in ("http", "websocket"):
            await self._beside(scope, receive, send)
            return
        call: Call = scope.get(CALL_KEY) or self._site.call(scope)
        token = None if CURRENT.get() is call else CURRENT.set(call)
        guarded = Answer(self, call, receive, call.track(send))
        try:
            await self._app(scope, guarded.receive, guarded.send)
        except BaseException as error:
            # Not only an Exception: what a Rust extension panics with is none.
            if is_ending(error):
                self._ending(error, guarded, call)
                raise
            await self._caught(leaf_of(error), guarded, call)
        else:
            if guarded.missing:
                await self._unanswered(guarded, call)
        finally:
            # An exception holds this frame, which holds them: none of it would go before the garbage collector comes.
            guarded.reported = call.error = None
            if token is not None:
                CURRENT.reset(token)

    async def start(self) -> None:
        """Watch the event loop's tasks; the first request does so too."""
        self._strays.begin()

    def close(self) -> None:
        """Leave the loop as it was, and tell what storms left uncounted in the log."""
        self._strays.end()
        self._tell_repeats()

    async def _beside(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        finally:
            if scope["type"] == "lifespan":
                self.close()

    def _strayed(self, call: Call, error: BaseException) -> None:
        self.report(call, error, Phase.TASK, call.status)

    def _tell_repeats(self) -> None:
        for fingerprint, count in self._storms.repeats():
            self._lines.warning("request.failed_repeatedly", fingerprint=fingerprint, times=count)

    def _ending(self, error: BaseException, guarded: Answer, call: Call) -> None:
        if isinstance(error, SystemExit):
            self.report(call, error, phase_of(guarded, call), call.status or 500)
        else:
            call.fate = "cancelled"

    async def _caught(self, error: BaseException, guarded: Answer, call: Call) -> None:
        if self._says_gone(call, error) or (guarded.send_failed and isinstance(error, OSError)):
            call.fate = "disconnected"
            return
        status, headers = meant_by(error) or (500, [])
        if error is not guarded.reported:
            self.report(call, error, phase_of(guarded, call), call.status or status)
        if call.scope["type"] == "websocket":
            if not guarded.closed and not guarded.send_failed:
                await close(call, guarded)
        elif not guarded.started:
            await answer(call, guarded.send_unchanged, status, headers=headers)
        elif not guarded.ended:
            raise AnswerBroken(f"request {call.request_id}: its answer was cut off") from None

    async def _unanswered(self, guarded: Answer, call: Call) -> None:
        """What the server would tell its own log alone; not where nobody is left to answer to."""
        if call.gone or guarded.send_failed:
            call.fate = call.fate or "disconnected"
        elif guarded.started:
            await self._caught(NoAnswer("the application returned before its answer was whole"), guarded, call)
        else:
            await self._caught(NoAnswer("the application returned without an answer"), guarded, call)

    def _says_gone(self, call: Call, error: BaseException) -> bool:
        """True for what is raised because the client went away; by a framework that has no name for that as well."""
        return is_gone(error) or (call.gone and status_of(error) is not None and not self._fingerprints.is_own(error))

    def report(self, call: Call, error: BaseException | None, phase: Phase, status: int) -> None:
        """Log, count and tell the observers; once of one exception, whichever ways it comes."""
        error = leaf_of(error) if error is not None else None
        before = told_before(error, call) if error is not None else None
        if before is not None:
            if phase is not Phase.TASK:
                call.failed = {"category": before.category, "fingerprint": before.fingerprint}
            return
        route = call.route
        if error is None:
            where = f"{call.method} {route}" if call.method.isalpha() and len(call.method) < 8 else route
            fingerprint = named("status", str(status), call.stopped_by, route)
        else:
            fingerprint, where = self._fingerprints.of(error)
        category = TIMEOUT if call.stopped_by == "concurrency" else self._categories.of(error, status)
        if error is not None:
            mark_told(error, call, category, fingerprint)
        if phase is not Phase.TASK:  # which is no matter of the request's own line
            call.failed = {"category": category, "fingerprint": fingerprint}
        self._count(category, route)
        label = self._measures.fingerprint_label(fingerprint)
        occurred = self._occurred.get((category, label))
        if occurred is None:
            occurred = self._measures.occurrences.labels(category, label).inc
            self._occurred[category, label] = occurred
        occurred()
        now = time.monotonic()
        if self._storms.ended(now):
            self._tell_repeats()
        full = self._storms.is_full(fingerprint, now)
        if not full and not self._observers:
            return  # one of a storm: nobody wants to know more of it
        report = ErrorReport(
            error=error, category=category, fingerprint=fingerprint, where=where, phase=phase, method=call.method[:16],
            route=route, status=status, request_id=call.request_id, trace_id=call.trace_id, span_id=call.span_id,
            user=call.user, scope=call.scope,
        )  # fmt: skip
        if full:
            event = "task.failed" if phase is Phase.TASK else "request.failed"
            self._lines.error(event, **report.fields(), stack=report.stack)
        for observer in self._observers:
            try:
                observer(report)
            except Exception as broken:  # noqa: BLE001 (forwarding an error must not make another one)
                self._lines.warning("request.observer_failed", error=f"{type(broken).__name__}")

    def _count(self, category: str, route: str) -> None:
        count = self._counts.get((category, route))
        if count is None:
            count = self._counts[category, route] = self._measures.errors.labels(category, route).inc
        count()

    def answered_by_layer(self, call: Call, status: int) -> None:
        """A layer of ours answered: a 4xx is counted, a 5xx is logged too. No place in time is a timeout."""
        if status >= 500:
            self.report(call, None, Phase.BEFORE, status)
        else:
            self._count(self._categories.of(None, status), call.route)

    def answered(self, call: Call, status: int, headers: Any, error: BaseException | None) -> bool:
        """An answer begins: log a 5xx, count a 4xx. True when the answer is to be replaced."""
        if error is not None and self._says_gone(call, error):
            call.fate = "disconnected"
            return False
        if status < 500:
            self._count(self._categories.of(error, status), call.route)
            return False
        call.status = status
        self.report(call, error, Phase.BEFORE, status)
        return error is not None and not is_meant(status, headers, error)
