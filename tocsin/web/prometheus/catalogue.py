"""series, labels, label/NAME/values, metadata and status/buildinfo: what there is to ask for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from tocsin import __version__
from tocsin.model import Labels, Matcher, MetricType
from tocsin.promql import Frame
from tocsin.series import Store
from tocsin.web.form import Form, form_of
from tocsin.web.inside import Inside
from tocsin.web.prometheus.answers import TRUNCATED, ApiError, envelope, success
from tocsin.web.prometheus.encoding import LabelWriter
from tocsin.web.prometheus.parameters import cut, limit_of, matcher_sets, time_of
from tocsin.web.streaming import Body, respond

DIALECT: Final = "3.0.0"
"""The version of Prometheus whose API and language this is; clients choose what to ask by it."""

_TYPES: Final = {MetricType.UNTYPED: "unknown"}

Sets = Sequence[tuple[Matcher, ...]]


@dataclass(frozen=True)
class Catalogue:
    """The endpoints that list."""

    inside: Inside

    async def series(self, request: Request) -> Response:
        """The label sets that match one of the selectors."""
        form = await form_of(request)
        if not form.all("match[]"):
            raise ApiError("bad_data", "no match[] parameter provided")
        limit, sets = limit_of(form), matcher_sets(form)
        frames = await self._frames(form, sets)

        def work(*_: object) -> Body:
            found = sorted(_distinct(frames, many=len(sets) > 1), key=lambda labels: tuple(labels.items()))
            shown = found[:limit] if limit else found
            warnings = (TRUNCATED,) if len(shown) < len(found) else ()
            return Body.begun(envelope(_listed(shown), warnings=warnings))

        return respond(request, await self.inside.reader.run(work, request=request))

    async def labels(self, request: Request) -> Response:
        """The names of labels."""
        form = await form_of(request)
        frames = await self._frames(form, matcher_sets(form) or ((),))
        names = sorted({name for frame in frames for name in frame.names if frame.column(name).any()})
        return self._names(request, form, names)

    async def values(self, request: Request) -> Response:
        """The values of one label."""
        form = await form_of(request)
        label = _unescaped(request.path_params["name"])
        if not label:
            raise ApiError("bad_data", 'invalid label name: ""')
        frames = await self._frames(form, matcher_sets(form) or ((),))
        values = {
            frame.dictionary.values[code]
            for frame in frames
            for code in np.unique(frame.column(label)).tolist()
            if code
        }
        return self._names(request, form, sorted(values))

    def _names(self, request: Request, form: Form, names: list[str]) -> Response:
        shown, more = cut(names, limit_of(form))
        return success(request, shown, warnings=(TRUNCATED,) if more else ())

    async def _frames(self, form: Form, sets: Sets) -> list[Frame]:
        start, end = time_of(form, "start", None), time_of(form, "end", None)
        if start is not None and end is not None and end < start:
            raise ApiError("bad_data", "end timestamp must not be before start timestamp")
        after = None if start is None else _just_before(start)

        def glance(store: Store) -> list[Frame]:
            return [frame for matchers in sets for frame in store.frames(matchers, after=after, until=end)]

        return await self.inside.reader.look(glance)

    async def metadata(self, request: Request) -> Response:
        """Type, unit and help of metrics, as declared."""
        form = await form_of(request)
        wanted, limit, each = form.one("metric"), limit_of(form), limit_of(form, "limit_per_metric")
        found: dict[str, list[dict[str, str]]] = {}
        for metric in self.inside.declared():
            if wanted in ("", metric.name):
                kind = _TYPES.get(metric.type, metric.type.value)
                entry = {"type": kind, "help": metric.help, "unit": metric.unit}
                entries = found.setdefault(metric.name, [])
                if entry not in entries and (not each or len(entries) < each):
                    entries.append(entry)
        names, _ = cut(sorted(found), limit)
        return success(request, {name: found[name] for name in names})

    async def buildinfo(self, request: Request) -> Response:
        """Which API this is; no features beyond Prometheus' own."""
        return success(request, build_info())


def build_info() -> dict[str, Any]:
    """As Prometheus', with the version of its API that is spoken here, and whose program it is."""
    return {
        "version": DIALECT, "revision": __version__, "branch": "tocsin", "buildUser": "", "buildDate": "",
        "goVersion": "", "application": "Tocsin", "features": {},
    }  # fmt: skip


def _just_before(start: datetime) -> datetime | None:
    """The store's bounds leave out the first instant, Prometheus' don't."""
    try:
        return start - timedelta(milliseconds=1)
    except OverflowError:
        return None


def _distinct(frames: Iterable[Frame], *, many: bool) -> Iterable[Labels]:
    every = (labels for frame in frames for labels in frame.labels())
    return dict.fromkeys(every) if many else every


def _listed(found: Iterable[Labels]) -> Iterator[bytes]:
    writer = LabelWriter()
    yield b"["
    for index, labels in enumerate(found):
        yield (b"," if index else b"") + writer.object(labels)
    yield b"]"


def _unescaped(name: str) -> str:
    """A label's name as it stands in a path: `U__` and `_HEX_` write what a path can't.

    Source: prometheus/common/model/metric.go, UnescapeName (ValueEncodingEscaping).
    """
    if not name.startswith("U__"):
        return name
    parts: list[str] = []
    rest = name[3:]
    while rest:
        if rest.startswith("__"):
            parts.append("_")
            rest = rest[2:]
        elif rest.startswith("_"):
            code, found, after = rest[1:].partition("_")
            if not found or not re.fullmatch(r"[0-9A-Fa-f]{1,6}", code) or int(code, 16) > 0x10FFFF:
                return name
            parts.append(chr(int(code, 16)))
            rest = after
        else:
            parts.append(rest[0])
            rest = rest[1:]
    return "".join(parts)
